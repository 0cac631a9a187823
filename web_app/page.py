"""The page: gradio's components around `Handlers`. This file only lays out and connects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes import Default

from embedding_space.media import ENDINGS, GIF
from web_app.arrivals import Arrivals
from web_app.handlers import Handlers, Shown
from web_app.links import LARGEST_SEED, SENTENCE_LENGTH, PageState, most_steps, read_query
from web_app.markup import TEMPLATES, problem
from web_app.painting import Painter
from web_app.uploads import is_below

SESSION_SECONDS = 3600  # after which a session's embeddings are forgotten
TITLE = "Diffusion Bridge: captions without pairs"
KEPT = (
    "The address of this page holds the settings: open it again, or send it, to restore them. **The {medium} is not in "
    "it.** Your {medium} is deleted from this server as soon as it has been read; what is made of it is forgotten when "
    "you leave."
)


def make_page(handlers: Handlers, arrivals: Arrivals, queue_size: int) -> gr.Blocks:
    """The page, with its queue, ready to be mounted; it reads `arrivals` and no other files."""
    medium, usual, bridged = handlers.desk.medium, handlers.usual, handlers.timesteps > 0
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=False) as page:
        gr.Markdown(f"# Captions without pairs\n`{handlers.main.name}`, {handlers.main.about}.")
        notice = gr.HTML()
        session = gr.State(None, time_to_live=SESSION_SECONDS)
        with gr.Tabs():
            with gr.Tab(f"Caption a {'photo' if medium == 'image' else medium}"), gr.Row():
                with gr.Column(scale=2, min_width=300):
                    chosen = _input(handlers)
                    shown = gr.HTML()
                    timestep = gr.Slider(
                        1, handlers.timesteps or 1, usual.timestep or 1, step=1, visible=bridged,
                        label="Injection step (image_timestep)",
                        info=f"of {handlers.timesteps:,}: where the {medium} enters the reverse diffusion",
                    )  # fmt: skip
                    steps = gr.Slider(
                        1, most_steps(usual), usual.steps or 1, step=1, visible=bridged,
                        label="Denoising steps (image_steps)", info="at most as many as the injection step",
                    )  # fmt: skip
                with gr.Column(scale=3, min_width=300):
                    captions = gr.HTML(handlers.answer(None, usual).captions)
                    method = gr.Radio(list(handlers.main.methods), value=usual.method, label="Look into the caption of")
                    with gr.Accordion("Word by word", open=True):
                        words = gr.HTML()
                    with gr.Accordion(f"From {medium} to text", open=True):
                        way = gr.HTML()
                    with gr.Accordion("Beams", open=False):
                        beams = gr.HTML()
                    with gr.Accordion("Nearest texts", open=False):
                        near = gr.HTML()
            drawn = () if handlers.painter is None else _drawing(handlers, handlers.painter)
        gr.Markdown(KEPT.format(medium="photo" if medium == "image" else medium))
        sentence, seed = drawn[:2] if drawn else (gr.State(""), gr.State(0))
        parts = [captions, words, way, beams, near]

        def on_file(path: str | None, *settings: Any) -> Sequence[Any]:
            state = PageState(*settings)
            if path is None:  # for gr.skip(), gradio would make the component anew, with its own preprocess
                return [None, *[gr.skip()] * (3 + len(parts))]
            if not is_below(path, arrivals.folder):
                refusal = Shown(problem("Only files that were uploaded here are read"))
                return [None, None, "", gr.skip(), *refusal.parts()]
            try:
                encoded, html, answers = handlers.upload(Path(path), arrivals.name(Path(path)), state)
            finally:
                arrivals.delete([Path(path)])
                chosen.temp_files.discard(path)  # gradio's list of what it would delete
            return [None, encoded, html, answers.steps if bridged else gr.skip(), *answers.parts()]

        def on_settings(encoded: Any, *settings: Any) -> Sequence[Any]:
            answers: Shown = handlers.answer(encoded, PageState(*settings))
            return [answers.steps if answers.steps != settings[2] and bridged else gr.skip(), *answers.parts()]

        def on_load(request: gr.Request) -> Sequence[Any]:
            state, problems = read_query(
                dict(request.query_params), usual, list(handlers.main.methods), handlers.timesteps
            )
            said = problem("Of the link: " + "; ".join(problems) + ".") if problems else ""
            settings = [state.method, state.timestep or 1, state.steps or 1]
            return [said, *settings, *([state.sentence, state.seed] if drawn else [])]

        settings = [method, timestep, steps]
        hidden: Any = {"api_visibility": "private", "show_progress": "hidden"}
        # A file component knows no other event for a new file.
        new_file = chosen.upload if medium == "video" else chosen.input
        new_file(
            on_file, [chosen, *settings], [chosen, session, shown, steps, *parts],
            api_visibility="private", show_progress="minimal", show_progress_on=captions,
        )  # fmt: skip
        for component in settings:
            component.input(on_settings, [session, *settings], [steps, *parts], trigger_mode="always_last", **hidden)
        link = (TEMPLATES / "page.js").read_text(encoding="utf-8")
        nothing = gr.State(0)
        linked = [method, *((timestep, steps) if bridged else (nothing, nothing)), sentence, seed]
        for component in [*settings, *drawn[:2]]:
            component.input(None, linked, None, js=link)
        page.load(on_load, None, [notice, *settings, *drawn[:2]], **hidden)
    page.queue(max_size=queue_size, api_open=False)
    return page


def _input(handlers: Handlers) -> Any:
    """The component that takes the medium's files."""
    medium = handlers.desk.medium
    if medium == "image":
        taking: Any = gr.Image(
            type="filepath", image_mode=None, sources=["upload", "webcam", "clipboard"], height=240, buttons=[],
            label="A photo: drop, choose, paste or take one",
        )  # fmt: skip
    elif medium == "sound":
        taking = gr.Audio(
            type="filepath", sources=["upload", "microphone"], label="A sound: drop, choose or record one", buttons=[]
        )
    else:
        taking = gr.File(
            type="filepath", file_types=[*ENDINGS["video"], GIF], height=200, label="A video: drop or choose one"
        )
    # Their own open the file before it is checked, and may write another. For a session in which a handler changed the
    # component, gradio makes it anew, and its own is back: hence filepath.
    taking.preprocess = _path_of
    return taking


def _path_of(payload: Any) -> str | None:
    """Where gradio put a visitor's file."""
    return None if payload is None else payload.path


def _drawing(handlers: Handlers, painter: Painter) -> tuple[Any, ...]:
    with gr.Tab("Draw a picture"):
        gr.Markdown(painter.knows)
        sentence = gr.Textbox(
            label="Sentence", placeholder="two balloons above a farm at sunset", max_length=SENTENCE_LENGTH
        )
        seed = gr.Number(0, label="Seed of the noise", precision=0, minimum=0, maximum=LARGEST_SEED)
        button = gr.Button("Draw", variant="primary")
        drawn = gr.HTML()
        gr.on(
            [button.click, sentence.submit], handlers.draw, [sentence, seed], drawn,
            api_visibility="private", show_progress="minimal",
        )  # fmt: skip
    return sentence, seed, drawn


def style() -> str:
    """The page's own CSS, in gradio's colors, which follow the reader's light or dark mode.

    It is an element of the page's head: gradio rewrites what it is given as `css`, and loses a part of it.
    """
    return f"<style>{(TEMPLATES / 'page.css').read_text(encoding='utf-8')}</style>"


def theme() -> Any:
    """Gradio's default look with the reader's own fonts, so that none is fetched, and small print that can be read."""
    soft = {"body_text_color_subdued": "*neutral_600", "block_info_text_color": "*neutral_600"}
    return Default(
        font=["system-ui", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif"],
        font_mono=["ui-monospace", "Liberation Mono", "monospace"],
    ).set(**soft, **{f"{name}_dark": "*neutral_300" for name in soft})
