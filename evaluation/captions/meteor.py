"""METEOR through pycocoevalcap's `meteor-1.5.jar`, kept alive between evaluations.

Of the 20 CPU seconds that 5,000 captions take, 10 go into loading a paraphrase table and several into warming up; a
process that has done so needs 4 to 8. So it is started first, loads while the captions are tokenized and the other
metrics run, and stays for the next set of captions, whoever scores them.
The protocol is the jar's `-stdio` mode: `SCORE ||| reference ||| … ||| hypothesis` is answered by a line of statistics,
`EVAL ||| statistics ||| …` by one score a caption and the corpus score.
"""

from __future__ import annotations

import atexit
import contextlib
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence

from evaluation.captions.java import JavaError, error_tail, java_command, pycocoevalcap_folder

_TIMEOUT_SECONDS = 900
_warm: list[MeteorProcess] = []  # those that nobody uses


def take_meteor() -> MeteorProcess:
    """A running METEOR of one's own: a warm one, or a new one, which loads. Raises JavaError as `MeteorProcess`."""
    while _warm:
        if (process := _warm.pop()).runs():
            return process
    return MeteorProcess()


def give_back_meteor(process: MeteorProcess) -> None:
    """Keep it for the next who takes one; it ends with this Python process."""
    if process.runs():
        _warm.append(process)


@atexit.register
def close_warm_meteors() -> None:
    """End those that nobody uses; done at the end of this Python process."""
    while _warm:
        _warm.pop().close()


class MeteorProcess:
    """A running METEOR, to be closed (`with MeteorProcess() as meteor: …`). Not for use from several threads at once.

    Raises JavaError when Java or the jar is missing.
    """

    def __init__(self) -> None:
        folder = pycocoevalcap_folder() / "meteor"
        # A pipe that nobody empties would block it, a file does not.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process; see close)
        command = java_command("-Xmx2G", "-jar", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm")
        try:
            self._process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
            )
        except OSError as error:
            self._errors.close()
            raise JavaError(f"METEOR could not be started: {error}") from error
        assert self._process.stdin and self._process.stdout  # they are pipes
        self._questions, self._answers = self._process.stdin, self._process.stdout

    def score(
        self, references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, str]
    ) -> tuple[float, list[float]]:
        """Corpus METEOR and one value an image, in the order of `hypotheses` (0 to 1), of PTB-tokenized captions.

        Raises JavaError when the process fails or does not answer; it is closed then.
        """
        lines = [_score_line(references[image_id], hypothesis) for image_id, hypothesis in hypotheses.items()]
        watchdog = threading.Timer(_TIMEOUT_SECONDS, self._process.kill)
        watchdog.start()
        try:
            statistics = self._ask(lines, answers=len(lines))
            scores = self._ask([" ||| ".join(["EVAL", *statistics])], answers=len(lines) + 1)
            values = [float(score) for score in scores]
        except (EOFError, OSError, ValueError) as error:
            reason = self._reason(error)
            self.close()
            raise JavaError(f"METEOR failed: {reason}") from error
        finally:
            watchdog.cancel()
        return values[-1], values[:-1]

    def runs(self) -> bool:
        """Whether it has neither been closed nor died."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the Java process; harmless when it has ended already."""
        if self.runs():
            self._process.kill()
        self._process.wait()
        for stream in (self._questions, self._answers, self._errors):
            with contextlib.suppress(OSError):  # closing flushes, in vain, what a dead process did not read
                stream.close()

    def __enter__(self) -> MeteorProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _ask(self, lines: list[str], answers: int) -> list[str]:
        # All lines are written by a thread of their own: a question at a time would wait, 5,000 times, for the
        # interpreter lock that the other metrics hold.
        question = "".join(line + "\n" for line in lines).encode("utf-8", "replace")
        writer = threading.Thread(target=self._write, args=(question,), daemon=True)
        writer.start()
        received = []
        for _ in range(answers):
            line = self._answers.readline()
            if not line:
                raise EOFError
            received.append(line.decode().strip())
        writer.join()
        return received

    def _write(self, question: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):  # the process died: the reader sees that, and says why
            self._questions.write(question)
            self._questions.flush()

    def _reason(self, error: Exception) -> str:
        if not isinstance(error, EOFError):
            return str(error)
        status = self._process.wait()
        if status == -9:
            return f"the process was killed (out of memory, or no answer in {_TIMEOUT_SECONDS} seconds)"
        self._errors.seek(0)
        return error_tail(self._errors.read())


def _score_line(references: Sequence[str], hypothesis: str) -> str:
    # A separator inside a caption would shift all fields. pycocoevalcap removes it from the hypothesis only.
    texts = [*references, hypothesis]
    return " ||| ".join(["SCORE", *(text.replace("|||", "").replace("  ", " ") for text in texts)])
