"""What the world is made of: nouns with their sprites and habits, verbs and colors.

`aspect` (width / height of the trimmed sprite) is written here, and not measured, so that sampling a scene needs
no renderer: the text-only split is never drawn. A test compares the column with the sprites.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

Paint = tuple[str, str]  # main fill, shade fill
# color name -> paint: OpenMoji's palette
COLORS: dict[str, Paint] = {
    "red": ("#ea5a47", "#d22f27"),
    "orange": ("#f4aa41", "#e27022"),
    "yellow": ("#fcea2b", "#f1b31c"),
    "green": ("#b1cc33", "#5c9e31"),
    "blue": ("#61b2e4", "#1e50a0"),
    "purple": ("#b399c8", "#8967aa"),
    "pink": ("#ffa7c0", "#e67a94"),
    "white": ("#ffffff", "#d0cfce"),
    "grey": ("#b0b0ae", "#8a8a89"),
    "black": ("#4a4a4a", "#3f3f3f"),
    "brown": ("#a57939", "#6a462f"),
}

# verb -> (third person singular, plural, participle)
VERBS: dict[str, tuple[str, str, str]] = {
    "stand": ("stands", "stand", "standing"),
    "walk": ("walks", "walk", "walking"),
    "run": ("runs", "run", "running"),
    "rest": ("rests", "rest", "resting"),
    "wait": ("waits", "wait", "waiting"),
    "sit": ("sits", "sit", "sitting"),
    "graze": ("grazes", "graze", "grazing"),
    "crawl": ("crawls", "crawl", "crawling"),
    "wander": ("wanders", "wander", "wandering"),
    "swim": ("swims", "swim", "swimming"),
    "float": ("floats", "float", "floating"),
    "drift": ("drifts", "drift", "drifting"),
    "sail": ("sails", "sail", "sailing"),
    "fly": ("flies", "fly", "flying"),
    "hover": ("hovers", "hover", "hovering"),
    "ride": ("rides", "ride", "riding"),
    "drive": ("drives", "drive", "driving"),
    "park": ("is parked", "are parked", "parked"),
    "grow": ("grows", "grow", "growing"),
    "ski": ("skis", "ski", "skiing"),
    "surf": ("surfs", "surf", "surfing"),
    "dance": ("dances", "dance", "dancing"),
    "burn": ("burns", "burn", "burning"),
    "lie": ("lies", "lie", "lying"),
}
MOVING = frozenset({"walk", "run", "crawl", "wander", "ride", "drive", "ski"})  # may go "across" or "through" a place


@dataclass(frozen=True)
class Noun:
    """One kind of thing.

    Attributes:
        height: nominal height in pixels of a 96-pixel picture.
        places: letters of `places.PLACES` where it may be.
        zone: "ground", "water" (on the surface), "deep" (under water) or "sky".
        paint: the fill colors (main, shade) of the sprite that a color replaces; none if the color is fixed.
        colors: the possible colors, the sprite's first. A single one is fixed; without any, no color is named.
    """

    name: str
    plural: str
    sprite: str
    aspect: float
    height: int
    zone: str
    places: str
    verbs: tuple[str, ...]
    colors: tuple[str, ...] = ()
    paint: Paint | None = None
    synonyms: tuple[tuple[str, str], ...] = ()  # (singular, plural)
    most: int = 4  # of them in a picture
    never: tuple[str, ...] = ()  # weathers in which it is not seen


def _noun(
    name, sprite, aspect, height, zone, places, verbs, colors="", paint="", plural="", also="", most=4, never=""
) -> Noun:
    synonyms = []
    for words in filter(None, also.split(",")):
        one, _, many = words.partition("/")
        synonyms.append((one, many or one + "s"))
    return Noun(
        name=name,
        plural=plural or name + "s",
        sprite=sprite,
        aspect=aspect,
        height=height,
        zone=zone,
        places=places,
        verbs=tuple(verbs.split()),
        colors=tuple(colors.split()),
        paint=cast(Paint | None, COLORS.get(paint) or tuple(paint.split()) or None),
        synonyms=tuple(synonyms),
        most=most,
        never=tuple(never.split()),
    )


# Letters: Beach, Forest, City, Desert, Snow, Meadow, Lake, Underwater, fArm, mountains (R for rocks).
# fmt: off
NOUNS: tuple[Noun, ...] = (
    # animals of the farm and the house
    _noun("dog", "1F415", 1.16, 31, "ground", "BFCSMLA", "stand walk wait",
          "orange brown white grey black", "orange", also="puppy/puppies"),
    _noun("cat", "1F408", 1.54, 26, "ground", "CMAF", "walk wander", "orange white grey black",
          "orange", also="kitty/kitties"),
    _noun("horse", "1F40E", 1.19, 36, "ground", "MADBL", "stand walk wait", "brown white black grey",
          "#a57939 #6a462f"),
    _noun("cow", "1F404", 1.59, 31, "ground", "MARL", "stand graze rest"),
    _noun("pig", "1F416", 1.61, 27, "ground", "AM", "stand walk wander", "pink"),
    _noun("sheep", "1F411", 1.35, 29, "ground", "MARS", "stand graze", "white", plural="sheep"),
    _noun("goat", "1F410", 1.14, 31, "ground", "MAR", "stand graze walk", "brown"),
    _noun("rooster", "1F413", 0.98, 29, "ground", "AM", "stand walk"),
    _noun("chick", "1F425", 0.63, 27, "ground", "A", "stand wait", "yellow"),
    _noun("rabbit", "1F407", 1.17, 27, "ground", "MFSA", "sit rest", also="bunny/bunnies"),
    _noun("goose", "1FABF", 0.75, 32, "ground", "AL", "stand wait walk", "white", plural="geese"),
    # wild animals
    _noun("tiger", "1F405", 1.88, 26, "ground", "FM", "walk wander", "orange"),
    _noun("elephant", "1F418", 1.43, 40, "ground", "MFDL", "stand walk", "grey", most=2),
    _noun("rhino", "1F98F", 1.52, 35, "ground", "MD", "stand walk", "grey"),
    _noun("hippo", "1F99B", 1.92, 29, "ground", "L", "stand rest", "grey", most=2),
    _noun("camel", "1F42A", 1.36, 36, "ground", "D", "stand walk rest", "orange"),
    _noun("giraffe", "1F992", 0.79, 46, "ground", "MFD", "stand walk", "orange"),
    _noun("zebra", "1F993", 1.33, 35, "ground", "MDL", "stand walk graze"),
    _noun("deer", "1F98C", 0.86, 39, "ground", "FMSR", "stand wait", "brown", plural="deer"),
    _noun("kangaroo", "1F998", 1.26, 35, "ground", "DM", "stand wait", "brown"),
    _noun("monkey", "1F412", 1.09, 31, "ground", "FB", "walk wander", "brown"),
    _noun("gorilla", "1F98D", 0.99, 36, "ground", "F", "stand sit", "black"),
    _noun("polar bear", "1F43B-200D-2744-FE0F", 1.82, 31, "ground", "S", "walk wander", "white"),
    _noun("penguin", "1F427", 0.79, 33, "ground", "S", "stand wait"),
    _noun("seal", "1F9AD", 0.94, 31, "ground", "SB", "rest lie", "grey"),
    _noun("bison", "1F9AC", 1.35, 36, "ground", "MRS", "stand graze", "brown", plural="bison",
          also="buffalo/buffalo"),
    _noun("squirrel", "1F43F", 0.96, 28, "ground", "FC", "sit rest", "brown"),
    _noun("hedgehog", "1F994", 1.77, 21, "ground", "FM", "walk wander"),
    _noun("turtle", "1F422", 1.52, 24, "ground", "BLD", "walk crawl", "green", also="tortoise"),
    _noun("crocodile", "1F40A", 2.52, 19, "ground", "L", "rest lie crawl", "green", most=2),
    _noun("snake", "1F40D", 1.07, 27, "ground", "DFR", "rest wait", "green"),
    _noun("snail", "1F40C", 1.6, 20, "ground", "FAM", "crawl rest", "brown"),
    _noun("crab", "1F980", 1.29, 25, "ground", "BU", "crawl rest", "red"),
    _noun("lobster", "1F99E", 0.73, 31, "ground", "U", "crawl rest", "red"),
    _noun("seashell", "1F41A", 0.59, 26, "ground", "BU", "lie", "pink"),
    _noun("flamingo", "1F9A9", 0.95, 36, "ground", "LB", "stand wait", "pink"),
    _noun("peacock", "1F99A", 0.94, 34, "ground", "MA", "stand walk"),
    # people
    _noun("person", "1F6B6-200D-2642-FE0F", 0.37, 38, "ground", "BFCDSMLAR", "walk", plural="people"),
    _noun("runner", "1F3C3-200D-2642-FE0F", 0.74, 36, "ground", "BFCDMLR", "run", also="jogger"),
    _noun("cyclist", "1F6B4", 0.97, 37, "ground", "CFMLAR", "ride"),
    _noun("dancer", "1F483", 0.79, 37, "ground", "BCM", "dance"),
    _noun("skier", "26F7", 1.04, 36, "ground", "S", "ski"),
    _noun("surfer", "1F3C4", 1.02, 30, "water", "B", "surf", most=2),
    # vehicles
    _noun("car", "1F697", 2.25, 21, "ground", "CDMSR", "drive park",
          "red blue green yellow white purple", "#ea5a47 #ea5a47", most=2),
    _noun("taxi", "1F695", 2.03, 22, "ground", "C", "drive park wait", "yellow", also="cab", most=2),
    _noun("bus", "1F68C", 2.97, 17, "ground", "CR", "drive park", "red blue green yellow",
          "#ea5a47 #ea5a47", plural="buses", most=1),
    _noun("truck", "1F6FB", 2.12, 22, "ground", "CDASR", "drive park", "red blue green orange",
          "#d22f27 #d22f27", also="pickup truck", most=2),
    _noun("tractor", "1F69C", 1.41, 33, "ground", "AM", "drive park", "green", most=2),
    _noun("fire truck", "1F692", 1.93, 25, "ground", "C", "drive park wait", "red", most=1),
    _noun("ambulance", "1F691", 2.05, 23, "ground", "C", "drive park wait", "white", most=1),
    _noun("bicycle", "1F6B2", 1.5, 28, "ground", "CMLBF", "park stand", also="bike"),
    _noun("motorcycle", "1F3CD", 1.84, 26, "ground", "CDR", "park stand", "red blue green",
          "#ea5a47 #d22f27", also="motorbike", most=2),
    _noun("train", "1F682", 1.53, 32, "ground", "DMRS", "wait stand", also="steam train", most=1),
    _noun("sailboat", "26F5", 1.01, 31, "water", "BL", "sail float drift", most=2),
    _noun("canoe", "1F6F6", 1.61, 25, "water", "L", "float drift", "blue red green yellow",
          "#61b2e4 #61b2e4", most=2),
    # birds on the water, and the deep
    _noun("duck", "1F986", 0.88, 27, "water", "L", "swim float", "brown"),
    _noun("swan", "1F9A2", 0.93, 29, "water", "L", "swim float", "white"),
    _noun("dolphin", "1F42C", 1.24, 32, "deep", "U", "swim", "grey"),
    _noun("whale", "1F40B", 0.97, 40, "deep", "U", "swim", "blue", most=2),
    _noun("fish", "1F41F", 1.32, 25, "deep", "U", "swim", "blue pink green orange purple",
          "#92d3f5 #61b2e4", plural="fish"),
    _noun("tropical fish", "1F420", 1.18, 27, "deep", "U", "swim", plural="tropical fish"),
    _noun("shark", "1F988", 2.16, 23, "deep", "U", "swim", "grey"),
    _noun("octopus", "1F419", 1.17, 31, "deep", "U", "swim", "red purple orange", "#ea5a47 #d22f27",
          plural="octopuses"),
    _noun("squid", "1F991", 0.42, 37, "deep", "U", "swim", "orange", plural="squid"),
    _noun("jellyfish", "1FABC", 0.79, 32, "deep", "U", "float drift", "purple pink", "#b399c8 #8967aa",
          plural="jellyfish"),
    # in the sky
    _noun("dove", "1F54A", 0.8, 25, "sky", "BCMAFLR", "fly", "white"),
    _noun("eagle", "1F985", 0.88, 27, "sky", "RDFLS", "fly", "brown"),
    _noun("butterfly", "1F98B", 1.43, 20, "sky", "MFA", "fly", "blue orange pink yellow",
          "#92d3f5 #92d3f5", plural="butterflies", never="rainy snowing night"),
    _noun("bee", "1F41D", 1.51, 19, "sky", "MA", "fly hover", never="rainy snowing night"),
    _noun("airplane", "2708", 1.0, 27, "sky", "BCDMSR", "fly", "grey", also="plane"),
    _noun("helicopter", "1F681", 1.62, 22, "sky", "CRBSD", "fly hover", "red blue yellow", "#ea5a47 #ea5a47"),
    _noun("balloon", "1F388", 0.83, 29, "sky", "CMBA", "float drift", "red blue yellow green purple",
          "#ea5a47 #d22f27"),
    _noun("kite", "1FA81", 0.95, 28, "sky", "BMRL", "fly", "pink blue red green", "#ffa7c0 #e67a94",
          never="rainy night"),
    # plants, buildings and the rest
    _noun("palm tree", "1F334", 1.02, 43, "ground", "BD", "stand grow", "green", most=2),
    _noun("pine tree", "1F332", 0.68, 44, "ground", "SRL", "stand grow", "green", also="fir tree"),
    _noun("cactus", "1F335", 0.86, 37, "ground", "D", "stand grow", "green", plural="cacti"),
    _noun("sunflower", "1F33B", 0.82, 35, "ground", "MA", "grow", "yellow"),
    _noun("tulip", "1F337", 1.0, 29, "ground", "MA", "grow", "orange red pink purple yellow", "orange"),
    _noun("mushroom", "1F344", 1.09, 27, "ground", "FM", "grow", "red"),
    _noun("snowman", "26C4", 0.98, 38, "ground", "S", "stand", plural="snowmen"),
    _noun("beach umbrella", "26F1", 0.96, 36, "ground", "B", "stand", most=2),
    _noun("house", "1F3E0", 0.84, 44, "ground", "MSCLA", "stand", most=2),
    _noun("castle", "1F3F0", 1.29, 42, "ground", "RMLFS", "stand", most=1),
    _noun("church", "26EA", 0.58, 48, "ground", "CRM", "stand", "white", plural="churches", most=1),
    _noun("tent", "26FA", 1.15, 33, "ground", "FMRLD", "stand", "yellow blue green red",
          "#fcea2b #f1b31c", most=2),
    _noun("fountain", "26F2", 1.1, 36, "ground", "C", "stand", most=1),
    _noun("mailbox", "1F4EE", 0.63, 34, "ground", "C", "stand", "red", plural="mailboxes", most=2),
    _noun("campfire", "1F525", 0.64, 29, "ground", "FRB", "burn", most=1, never="rainy snowing"),
)
# fmt: on
PEOPLE = frozenset({"person", "runner", "cyclist", "dancer", "skier", "surfer"})  # never called big or small
NOUN: dict[str, Noun] = {noun.name: noun for noun in NOUNS}
