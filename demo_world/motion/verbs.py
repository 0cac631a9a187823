"""Which things move how, and the words for it."""

from __future__ import annotations

from demo_world.lexicon import NOUN, VERBS

# kind of motion -> how likely, where something can do it
KINDS = {
    "go": 0.42,  # to the left or to the right
    "rise": 0.09,
    "sink": 0.09,
    "appear": 0.08,
    "vanish": 0.08,
    "approach": 0.09,
    "recede": 0.07,
    "stay": 0.08,
}
DIRECTIONS = ("left", "right")  # of "go"

_MORE = {  # verb -> (third person singular, plural, participle), beside those of pictures
    "move": ("moves", "move", "moving"),
    "go": ("goes", "go", "going"),
    "come": ("comes", "come", "coming"),
    "trot": ("trots", "trot", "trotting"),
    "gallop": ("gallops", "gallop", "galloping"),
    "hop": ("hops", "hop", "hopping"),
    "waddle": ("waddles", "waddle", "waddling"),
    "slither": ("slithers", "slither", "slithering"),
    "roll": ("rolls", "roll", "rolling"),
    "flutter": ("flutters", "flutter", "fluttering"),
    "jog": ("jogs", "jog", "jogging"),
    "climb": ("climbs", "climb", "climbing"),
    "rise": ("rises", "rise", "rising"),
    "sink": ("sinks", "sink", "sinking"),
    "dive": ("dives", "dive", "diving"),
    "descend": ("descends", "descend", "descending"),
    "appear": ("appears", "appear", "appearing"),
    "show": ("shows", "show", "showing"),
    "vanish": ("vanishes", "vanish", "vanishing"),
    "disappear": ("disappears", "disappear", "disappearing"),
    "approach": ("approaches", "approach", "approaching"),
    "stay": ("stays", "stay", "staying"),
}
_ALL = {**VERBS, **_MORE}

# noun -> its ways to go; the first one is also said with "away" and "toward the camera"
GAITS = {
    "dog": "run walk", "cat": "walk run", "horse": "trot gallop walk run", "cow": "walk", "pig": "run walk",
    "sheep": "walk run", "goat": "walk run", "rooster": "walk", "chick": "walk run", "rabbit": "hop run",
    "goose": "waddle walk", "tiger": "walk run", "elephant": "walk", "rhino": "walk run", "hippo": "walk",
    "camel": "walk", "giraffe": "walk", "zebra": "walk trot run", "deer": "walk run", "kangaroo": "hop",
    "monkey": "walk run", "gorilla": "walk", "polar bear": "walk", "penguin": "waddle walk", "bison": "walk run",
    "squirrel": "run", "hedgehog": "walk crawl", "turtle": "crawl walk", "crocodile": "crawl", "snake": "slither",
    "snail": "crawl", "crab": "crawl walk", "lobster": "crawl", "flamingo": "walk", "peacock": "walk",
    "person": "walk", "runner": "run jog", "cyclist": "ride", "skier": "ski", "surfer": "surf",
    "car": "drive", "taxi": "drive", "bus": "drive", "truck": "drive", "tractor": "drive", "fire truck": "drive",
    "ambulance": "drive", "train": "roll", "sailboat": "sail", "canoe": "drift", "duck": "swim", "swan": "swim",
    "dolphin": "swim", "whale": "swim", "fish": "swim", "tropical fish": "swim", "shark": "swim", "octopus": "swim",
    "squid": "swim", "jellyfish": "drift float", "dove": "fly", "eagle": "fly", "butterfly": "fly flutter",
    "bee": "fly", "airplane": "fly", "helicopter": "fly", "balloon": "drift float", "kite": "fly",
}  # fmt: skip
# noun -> its ways up, and down
RISES = {
    "balloon": "rise,float up", "kite": "rise,fly up", "helicopter": "rise,fly up,climb", "dove": "fly up",
    "eagle": "fly up,rise", "butterfly": "fly up,flutter up", "bee": "fly up",
    "dolphin": "swim up,rise", "whale": "swim up,rise", "fish": "swim up", "tropical fish": "swim up",
    "shark": "swim up", "octopus": "swim up,rise", "squid": "swim up,rise", "jellyfish": "rise,float up",
}  # fmt: skip
SINKS = {
    "balloon": "sink,float down", "kite": "sink,come down", "helicopter": "come down,descend,fly down",
    "dove": "fly down,descend", "eagle": "fly down,dive,descend", "butterfly": "fly down,flutter down",
    "bee": "fly down", "dolphin": "dive,swim down", "whale": "dive,swim down,sink", "fish": "swim down,dive",
    "tropical fish": "swim down,dive", "shark": "swim down,dive", "octopus": "sink,swim down",
    "squid": "sink,swim down", "jellyfish": "sink,float down",
}  # fmt: skip
APPEARS = ("appear", "show up", "come into view")
VANISHES = ("vanish", "disappear", "go out of sight")
COMES = ("approach", "come closer", "come nearer", "{gait} toward the camera")
LEAVES = ("go away", "move away", "{gait} away")
STAYS = ("stand", "rest", "wait", "sit", "graze", "lie", "hover", "park")  # those of a noun's verbs that are no motion
ALWAYS_STAYS = ("stay in place", "stand still")
PASSES = ("past", "in front of")  # something that stays, on the way

TO_SIDE = {side: (f"to the {side}", f"toward the {side}", f"from {other} to {side}", f"from the {other} to the {side}")
           for side, other in (("left", "right"), ("right", "left"))}  # fmt: skip
# OpenMoji's animals and vehicles look to the left, but for these.
LOOKS_RIGHT = frozenset(
    {"fish", "tropical fish", "shark", "crocodile", "snake", "snail", "bee", "helicopter", "airplane", "hippo", "bison"}
)

# What the weather does: change -> (weather, whether it falls at first, whole clauses, phrases that follow a sentence)
CHANGES: dict[str, tuple[str, bool, tuple[str, ...], tuple[str, ...]]] = {
    "rain starts": ("rainy", False, ("it starts to rain", "it begins to rain", "rain starts to fall"),
                    ("as it starts raining", "while it starts to rain", "and it begins to rain")),
    "rain stops": ("rainy", True, ("it stops raining", "the rain stops"),
                   ("as it stops raining", "while the rain stops", "and it stops raining")),
    "snow starts": ("snowing", False, ("it starts to snow", "it begins to snow", "snow starts to fall"),
                    ("as it starts snowing", "while it starts to snow", "and it begins to snow")),
    "snow stops": ("snowing", True, ("it stops snowing", "the snow stops falling"),
                   ("as it stops snowing", "while it stops snowing", "and it stops snowing")),
}  # fmt: skip


def ways(noun: str, kind: str) -> tuple[str, ...]:
    """The verbs by which things of a noun do a kind of motion: none where they never do it."""
    gaits = tuple(GAITS.get(noun, "").split())
    if kind == "go":
        return gaits
    if kind in ("rise", "sink"):
        listed = (RISES if kind == "rise" else SINKS).get(noun, "")
        return tuple(listed.split(",")) if listed else ()
    if kind == "stay":
        stays = tuple(verb for verb in NOUN[noun].verbs if verb in STAYS)
        return (*stays, *(ALWAYS_STAYS if gaits and NOUN[noun].zone == "ground" else ())) if stays else ()
    if not gaits:
        return ()
    if kind in ("appear", "vanish"):
        return APPEARS if kind == "appear" else VANISHES
    if NOUN[noun].zone == "deep" or noun in SINKS:
        return ()  # what may go up and down, too, would be hard to tell from it
    return tuple(way.format(gait=gaits[0]) for way in (COMES if kind == "approach" else LEAVES))


def forms(way: str) -> tuple[str, str, str]:
    """(third person singular, plural, participle) of a verb and what belongs to it: "flies up", "fly up"."""
    verb, _, rest = way.partition(" ")
    one, many, doing = (f"{form} {rest}".strip() for form in _ALL[verb])
    return one, many, doing


def _kinds_of_forms() -> dict[str, str]:
    kinds: dict[str, str] = {}
    for noun in NOUN:
        for kind in KINDS:
            for way in ways(noun, kind):
                for form in forms(way):
                    if kinds.setdefault(form, kind) != kind:
                        raise AssertionError(f"{form!r} would say {kinds[form]} and {kind}")
    return kinds


KIND_OF_FORM = _kinds_of_forms()  # "flies up" -> "rise"
