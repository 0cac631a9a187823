"""What is heard in the world: every source with the words for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from demo_world.sounds import events, textures


@dataclass(frozen=True)
class Source:
    """One kind of sound.

    Attributes:
        sayings: (subject, finite verb, participle), each with whatever belongs to it.
        nouns: noun phrases; a counted source, whose number they would have to say, may have none.
        heads: the words that tell the source in a caption.
        spacing: seconds from one occurrence to the next; 0 for what goes on, a texture.
        most: occurrences in a scene.
        units: (singular, plural) of one occurrence.
        begins, ends: clauses that say that a texture begins or ends, beside "starts raining" and "stops raining".
        indoors: whether it may be heard in a room.
    """

    name: str
    sayings: tuple[tuple[str, str, str], ...]
    nouns: tuple[str, ...]
    heads: tuple[str, ...]
    spacing: float = 0.0
    most: int = 4
    units: tuple[str, str] | None = None
    begins: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    indoors: bool = False

    @property
    def counted(self) -> bool:
        return self.spacing > 0

    @property
    def synthesize(self) -> Callable[..., np.ndarray]:
        return getattr(events if self.counted else textures, self.name)


def _source(name, sayings, heads, nouns="", spacing=0.0, most=4, units="", begins="", ends="", indoors=False) -> Source:
    one, _, many = units.partition("/")
    said = tuple(tuple(saying.split("/")) for saying in sayings.split(", "))
    listed = (tuple(filter(None, text.split(", "))) for text in (nouns, begins, ends))
    nouns, begins, ends = listed
    heads = tuple(head.replace("_", " ") for head in heads.split())
    return Source(name, said, nouns, heads, spacing, most, (one, many) if one else None, begins, ends, indoors)


# fmt: off
SOURCES: tuple[Source, ...] = (
    # counted: sayings are subject/finite verb/participle
    _source("bell", "a bell/rings/ringing, a bell/tolls/tolling, a church bell/chimes/chiming", "bell bells",
            spacing=0.85, indoors=True),
    _source("whistle", "a whistle/blows/blowing, a referee/whistles/whistling, a whistle/sounds/sounding",
            "whistle whistles whistling", spacing=0.75, indoors=True),
    _source("drum", "a drum/beats/beating, a drum/booms/booming, someone/hits a drum/hitting a drum",
            "drum drums drumbeat drumbeats", spacing=0.5, units="drumbeat/drumbeats", indoors=True),
    _source("knock", "someone/knocks on a door/knocking on a door, someone/knocks/knocking, "
            "a person/knocks on a door/knocking on a door", "knock knocks knocking", spacing=0.3,
            units="knock/knocks", indoors=True),
    _source("bark", "a dog/barks/barking, a dog/barks/barking, a puppy/barks/barking",
            "dog puppy bark barks barking", spacing=0.5, units="bark/barks", indoors=True),
    _source("meow", "a cat/meows/meowing, a cat/cries/crying, a kitten/meows/meowing",
            "cat kitten meow meows meowing", spacing=1.1, most=3, units="meow/meows", indoors=True),
    _source("chirp", "a bird/chirps/chirping, a bird/sings/singing, a bird/tweets/tweeting",
            "bird birds birdsong", spacing=0.8),
    _source("thunder", "thunder/rumbles/rumbling, thunder/cracks/cracking",
            "thunder clap_of_thunder claps_of_thunder", spacing=2.1, most=2,
            units="clap of thunder/claps of thunder"),
    _source("telephone", "a telephone/rings/ringing, a phone/rings/ringing", "telephone phone", spacing=1.35, most=3,
            indoors=True),
    _source("beep", "an alarm/beeps/beeping, a timer/beeps/beeping, an alarm clock/beeps/beeping",
            "alarm alarm_clock timer beep beeps beeping", spacing=0.45, units="beep/beeps", indoors=True),
    _source("horn", "a car/honks/honking, a driver/honks/honking, a car horn/sounds/sounding",
            "car horn honk honks honking", spacing=0.9, most=3, units="honk/honks"),
    _source("moo", "a cow/moos/mooing", "cow moo moos mooing", spacing=1.6, most=2, units="moo/moos"),
    _source("croak", "a frog/croaks/croaking", "frog croak croaks croaking", spacing=0.7, units="croak/croaks"),
    _source("hoot", "an owl/hoots/hooting, an owl/calls/calling", "owl hoot hoots hooting", spacing=1.25, most=3),
    _source("glass", "glass/breaks/breaking, glass/shatters/shattering, a window/breaks/breaking",
            "glass window", spacing=1.2, most=2, indoors=True),
    _source("cough", "a man/coughs/coughing, someone/coughs/coughing", "cough coughs coughing", spacing=0.55,
            units="cough/coughs", indoors=True),
    # textures
    _source("siren", "a siren/wails/wailing, a siren/sounds/sounding", "siren sirens", "a wailing siren, a siren",
            begins="a siren starts"),
    _source("rain", "rain/falls/falling, it/rains/raining", "rain rains raining", "falling rain, rain",
            begins="rain begins, it starts to rain, it begins to rain", ends="the rain stops, it stops raining"),
    _source("wind", "the wind/blows/blowing, wind/howls/howling", "wind", "strong wind, gusts of wind, howling wind",
            begins="the wind picks up", ends="the wind dies down"),
    _source("engine", "an engine/idles/idling, an engine/runs/running, a motor/runs/running", "engine motor",
            "an idling engine, a running engine", begins="an engine starts, a motor starts", ends="an engine stops",
            indoors=True),
    _source("clock", "a clock/ticks/ticking", "clock ticking", "a ticking clock, the ticking of a clock",
            indoors=True),
    _source("footsteps", "someone/walks/walking, a person/walks on gravel/walking on gravel, "
            "footsteps/crunch/crunching", "footsteps walk walks walking", "footsteps, footsteps on gravel",
            begins="someone starts to walk", ends="the footsteps stop"),
    _source("waves", "waves/crash/crashing, waves/break on the shore/breaking on the shore, the sea/roars/roaring",
            "waves sea", "crashing waves, sea waves"),
    _source("applause", "people/clap/clapping, an audience/applauds/applauding, a crowd/claps/clapping",
            "clap claps clapping audience crowd applause", "applause, a clapping crowd", begins="applause breaks out",
            ends="the applause ends", indoors=True),
    _source("crickets", "crickets/chirp/chirping", "crickets", "chirping crickets, crickets"),
    _source("fire", "a fire/crackles/crackling, a fire/burns/burning", "fire campfire",
            "a crackling fire, a crackling campfire", indoors=True),
    _source("helicopter", "a helicopter/flies overhead/flying overhead, a helicopter/hovers/hovering", "helicopter",
            "a helicopter, a hovering helicopter"),
    _source("stream", "a stream/flows/flowing, a brook/babbles/babbling, water/trickles/trickling",
            "stream brook water", "running water, a babbling brook", begins="water starts to run"),
    _source("bees", "bees/buzz/buzzing, a swarm of bees/buzzes/buzzing", "bees", "buzzing bees, a swarm of bees"),
    _source("typing", "someone/types on a keyboard/typing on a keyboard, a person/types/typing",
            "types typing type keyboard", "typing, typing on a keyboard", begins="someone starts to type",
            indoors=True),
)
# fmt: on
SOURCE: dict[str, Source] = {source.name: source for source in SOURCES}
