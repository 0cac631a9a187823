"""What the page does when something is asked: files and settings in, HTML out. Nothing here knows gradio."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from embedding_space.media import NAMES, Medium
from web_app import markup
from web_app.captioners import Answering
from web_app.desk import Desk
from web_app.links import PageState
from web_app.look import Bridge, Encoded
from web_app.painting import Painter
from web_app.previews import preview
from web_app.uploads import Limits, check_upload, in_its_name, renamed, shown_name

ASK: dict[Medium, str] = {
    "image": "Drop a photo, choose one, paste one or take one with the camera: every method's caption appears here.",
    "sound": "Drop a sound, choose one or record one: every method's caption appears here.",
    "video": "Drop a video or choose one: every method's caption appears here.",
}


@dataclass(frozen=True)
class Shown:
    """The page's parts, as HTML.

    Attributes:
        steps: of the bridge, which may be no more than its timestep.
    """

    captions: str = ""
    words: str = ""
    way: str = ""
    beams: str = ""
    near: str = ""
    steps: int = 1

    def parts(self) -> tuple[str, str, str, str, str]:
        """In the page's order."""
        return self.captions, self.words, self.way, self.beams, self.near


@dataclass
class Handlers:
    """The page's handlers. They keep nothing of a visitor: `Encoded` goes out to the session and comes back.

    Attributes:
        painter: None: the page draws nothing.
    """

    desk: Desk
    limits: Limits
    painter: Painter | None = None
    usual: PageState = field(init=False)

    def __post_init__(self):
        bridge = self.main.whole.bridge
        timestep, steps = (0, 0) if bridge is None else (bridge.image_timestep, bridge.image_steps)
        self.usual = PageState(self.main.whole.name, timestep, steps)

    @property
    def main(self) -> Answering:
        return self.desk.main

    @property
    def timesteps(self) -> int:
        """T of the bridge; 0 where no method has one."""
        bridges = [method.bridge for method in self.main.methods.values()]
        return next((bridge.diffusion.timesteps for bridge in bridges if bridge is not None), 0)

    def upload(self, path: Path, name: str, state: PageState) -> tuple[Encoded | None, str, Shown]:
        """A new file: what is kept of it for the session, its preview, and the answers.

        The file is deleted as soon as it has been read, before anything is answered. One that cannot be read is
        deleted, too; it leaves a sentence in the captions' place, and nothing is kept.
        """
        try:
            encoded, shown = self._read(path, name)
            return encoded, shown, self.answer(encoded, state)
        except (ValueError, FileNotFoundError) as error:
            return None, "", Shown(markup.problem(str(error)), steps=state.steps)

    def _read(self, path: Path, name: str) -> tuple[Encoded, str]:
        """A file's embedding and its preview, all that the page needs; the file is deleted.

        Raises:
            ValueError: the file cannot be read, or is gone.
        """
        label, medium = shown_name(name), self.desk.medium
        try:
            check_upload(path, name, medium, self.limits)
            with self.desk.turnstile.models(), renamed(path, label):
                encoded = self.desk.encode([path])
                reasons = encoded[self.main.name].reasons
                if reasons:
                    raise ValueError(in_its_name(reasons[0], path, label))
            with renamed(path, label):
                shown = preview(path, medium)
        except (ValueError, FileNotFoundError) as error:
            if path.exists():
                raise
            raise ValueError(f"{label} waited so long for its turn that it was deleted: send it again") from error
        finally:
            path.unlink(missing_ok=True)
        described = f"The {NAMES[medium].removesuffix('s')} {label}, whose captions are in the table"
        return encoded, markup.upload(shown, label, described)

    def answer(self, encoded: Encoded | None, state: PageState) -> Shown:
        """All answers on a file that was encoded before; without one, what to do first."""
        steps = min(state.steps, state.timestep)
        if encoded is None:
            return Shown(f"<p>{ASK[self.desk.medium]}</p>", steps=steps)
        bridge = Bridge(state.timestep, steps) if state.timestep else Bridge()
        with self.desk.turnstile.models():
            look = self.desk.look(encoded, bridge)
            captions = markup.captions(look.answers(), self.main.name)
            try:
                inside = look.inside(state.method)
            except ValueError as error:
                return Shown(captions, markup.problem(str(error)), steps=steps)
            medium = self.desk.medium
            return Shown(
                captions, markup.words(inside), markup.way(inside, medium), markup.beams(inside),
                markup.near_texts(inside, medium), steps,
            )  # fmt: skip

    def draw(self, sentence: str, seed: object) -> str:
        """A drawn picture, or what is wrong with the sentence."""
        if self.painter is None:
            return markup.problem("This page draws nothing: it was started with draw_with=null")
        whole = isinstance(seed, int | float) and float(seed).is_integer()
        try:
            if not whole:
                raise ValueError(f"seed={seed} must be a whole number")
            with self.desk.turnstile.models():
                drawn = self.painter.draw(sentence, int(seed))  # pyright: ignore[reportArgumentType]
        except ValueError as error:
            return markup.problem(str(error))
        return markup.drawing(drawn, self.painter.name)
