"""The packaged chat says what `edgeq run` says: the same tokens, the same refusals."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeq.package.programs import APP

PROMPTS = ["hello", " both sides ", "naïve 你好 🙂", "<|im_end|>\nuser<|bos|>", "line\n\nline\ttab", "--", "a" * 40]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_greedy_answer_is_that_of_the_session(chat, prompt: str) -> None:
    for system in ([], ["--system", "be kind"]) if len(prompt) < 12 else ([],):
        opening = [{"role": "system", "content": text} for text in system[1:]]
        expected = chat.artifact.generate([*opening, {"role": "user", "content": prompt}], max_new_tokens=12)
        found = json.loads(chat.answer(*system, "-n", "12", "--json", "--", prompt))
        assert found["text"] == expected.text()
        assert found["prompt_tokens"] == expected.stats.prompt_tokens
        assert found["new_tokens"] == expected.stats.new_tokens
        assert found["reason"] == expected.stats.reason


@pytest.mark.parametrize("prompt", ["Once upon", "a 🙂", "<|im_start|>x"])
def test_plain_text_is_continued(chat, prompt: str) -> None:
    assert chat.answer("--raw", "-n", "9", prompt) == chat.artifact.generate(prompt, max_new_tokens=9).text() + "\n"


def test_draws_are_those_of_the_seed(chat) -> None:
    from edgeq.runtime.sampling import Sampling

    sampling = Sampling(temperature=1.3, top_k=40, top_p=0.9, seed=11)
    expected = chat.artifact.generate("abc", max_new_tokens=20, sampling=sampling).text()
    options = ["--temperature", "1.3", "--top-k=40", "--top-p", "0.9", "--seed", "11", "-n", "20", "-q"]
    assert chat.answer("--raw", *options, "abc") == expected + "\n"


def test_a_stop_text_ends_the_answer(chat) -> None:
    whole = chat.artifact.generate("abc", max_new_tokens=24).text()
    stop = whole[6:8]
    expected = chat.artifact.generate("abc", max_new_tokens=24, stop=[stop])
    found = json.loads(chat.answer("--raw", "-n", "24", "--stop", stop, "--stop", "never this", "--json", "abc"))
    assert (found["text"], found["reason"]) == (expected.text(), "stop")


def test_the_context_ends_an_answer(chat) -> None:
    expected = chat.artifact.generate("a" * 50)
    found = json.loads(chat.answer("--raw", "--json", "a" * 50))
    assert (found["text"], found["reason"]) == (expected.text(), expected.stats.reason)


def test_a_prompt_comes_from_stdin_stripped(chat) -> None:
    assert chat.answer("-n", "8", given="\n hello \n\n") == chat.answer("-n", "8", "hello")


@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_threads_and_variants_change_nothing(chat, threads: str) -> None:
    answers = {chat.answer("-t", threads, "--variant", v["name"], "-n", "9", "x") for v in _runnable(chat)}
    assert answers == {chat.answer("-n", "9", "x")}


def _runnable(chat) -> list[dict]:
    variants = chat.artifact.manifest["variants"]
    return [v for v in variants if not chat.run("--variant", v["name"], "-n", "1", "x").returncode]


REFUSALS = {
    ("-p", "a", "b"): (2, "two prompts: give one"),
    ("",): (2, "no prompt"),
    ("--nope",): (2, "--nope is no option"),
    ("-n", "0", "x"): (2, "--max-tokens takes a whole number from 1 to 2147483647;"),
    ("-n", "1.5", "x"): (2, "--max-tokens takes a whole number"),
    ("--seed", "-1", "x"): (2, "--seed takes a whole number from 0"),
    ("--top-p", "2", "x"): (2, "--top-p takes a number"),
    ("-n",): (2, "takes a value"),
    ("--json=1", "x"): (2, "takes no value"),
    ("--raw", "--system", "s", "x"): (2, "--raw leaves out"),
    ("--variant", "nonsense", "x"): (2, "no variant nonsense"),
    ("--threads", "65", "x"): (2, "from 0 to 64"),
    ("y" * 100,): (8, "the context holds 64: shorten it"),
}


@pytest.mark.parametrize(("arguments", "expected"), REFUSALS.items(), ids=map(str, REFUSALS))
def test_refusals_are_one_line_and_a_code(chat, arguments: tuple[str, ...], expected: tuple[int, str]) -> None:
    done = chat.run(*arguments, given="")
    assert done.returncode == expected[0] and done.stdout == b""
    assert expected[1] in done.stderr.decode()
    assert done.stderr.startswith(b"app: error: ") and done.stderr.count(b"\n") == 1


def test_what_is_no_text_is_refused(chat) -> None:
    done = chat.run(given=b"ab\xff\xfe")
    assert done.returncode == 2 and b"no UTF-8 text (byte 2)" in done.stderr


def test_a_full_disk_is_an_error_and_a_reader_that_left_is_not_told(chat) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*chat.call, "-n", "3", "x"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 5 and b"cannot be written" in done.stderr
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*chat.call, "-q", "x"], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert done.returncode == -signal.SIGPIPE and done.stderr == b""


def test_facts_about_the_program(chat) -> None:
    assert "(chat, w4a8) for x86-64" in chat.answer("--version")
    assert "Usage: app [OPTIONS] [\"PROMPT\"]" in chat.answer("--help")
    info = chat.answer("--info")
    assert "context     64 tokens, vocabulary 272" in info and "decode" in info
    as_json = json.loads(chat.answer("--info", "--json"))
    assert (as_json["context"], as_json["vocabulary"], as_json["kind"]) == (64, 272, "chat")
    assert as_json["entries"][0]["name"] in info and as_json["entries"][1]["max_tokens"] == 16
    assert chat.run("--license").stderr == chat.run("--licence").stderr and "--license" not in chat.answer("--help")
    assert b"without a licence" in chat.run("--licence").stderr
    bench = json.loads(chat.answer("--bench", "--json", "-t", "1"))
    assert bench["threads"] == 1 and bench["prefill"]["tokens"] == 32 and bench["decode"]["tokens_per_second"] > 0
    assert chat.answer("--bench", "-t", "1").splitlines()[0].endswith(f"variant {bench['variant']}, 1 thread")
    assert b"measure prefill" in chat.run("--bench", "-t", "1").stderr


def test_words_are_one_prompt_and_options_have_short_forms(chat) -> None:
    expected = chat.answer("-n", "5", "a bc d")
    assert chat.answer("a", "-n5", "bc", "d") == expected == chat.answer("--max-tokens=5", "-p", "a bc d")


def test_one_token_has_no_speed(chat) -> None:
    assert b" 1 new, first after" in chat.run("-n1", "x").stderr


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, call: tuple[str, ...]) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(call, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL, close_fds=True)
        os.close(slave)

    def until(self, ending: str) -> str:
        """What it writes up to and with `ending`."""
        text, deadline = b"", time.monotonic() + 60
        while not text.endswith(ending.encode()):
            assert time.monotonic() < deadline, text
            text += os.read(self.master, 1)
        return text.decode().replace("\r\n", "\n")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())


def test_a_conversation_of_several_turns(chat) -> None:
    terminal = Terminal((*chat.call, "-n", "3", "-q"))
    messages: list[dict[str, str]] = []
    terminal.until("> ")
    for line in ("a", "b", "/clear", "c"):
        terminal.type(f"{line}\n")
        shown = terminal.until("\n> ")
        if line == "/clear":
            messages = []
            continue
        messages.append({"role": "user", "content": line})
        said = chat.artifact.generate(messages, max_new_tokens=3).text()
        assert shown == f"{line}\n{said}\n> "
        messages.append({"role": "assistant", "content": said})
    terminal.type("y" * 70 + "\n")  # more than the context: said, and the conversation goes on
    terminal.until("\n> ")
    for line in ("/help", "/nonsense", "z" * 5000):  # no turns
        terminal.type(f"{line}\n")
        terminal.until("\n> ")
    terminal.type("c\n")
    messages.append({"role": "user", "content": "c"})
    assert terminal.until("\n> ") == f"c\n{chat.artifact.generate(messages, max_new_tokens=3).text()}\n> "
    terminal.type("/exit\n")
    assert terminal.process.wait(20) == 0


def test_ctrl_c_ends_the_program_while_it_waits(chat) -> None:
    terminal = Terminal((*chat.call, "-q"))
    terminal.until("> ")
    terminal.process.send_signal(signal.SIGINT)
    terminal.until("\n")
    assert terminal.process.wait(20) == 130


def catches_interrupts(pid: int) -> bool:
    """Whether the process has a handler for SIGINT."""
    with open(f"/proc/{pid}/status") as status:
        mask = next(line.split()[1] for line in status if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (signal.SIGINT - 1) & 1)


def test_ctrl_c_ends_an_answer(chat) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(write, bytes(1 << 16))
    os.set_blocking(write, True)
    process = subprocess.Popen([*chat.call, "-q", "x"], stdout=write)  # waits with its first word: the pipe is full
    os.close(write)
    deadline = time.monotonic() + 60
    while not catches_interrupts(process.pid):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    with open(read, "rb") as pipe:
        assert len(pipe.read()) > filled
    assert process.wait(60) == 130


def test_a_second_ctrl_c_ends_the_program_at_once(tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(
        '#include <signal.h>\n#include "parts.h"\n'
        "int main(void) { edgeq_app_watch_stop(); raise(SIGINT); if (!edgeq_app_stopped()) return 1; raise(SIGINT); }\n"
    )
    sources = [str(tmp_path / "main.c"), str(APP / "stop.c")]
    includes = [f"-I{APP}", f"-I{APP.parents[1] / 'runtime'}"]
    compiler = [sys.executable, "-m", "ziglang", "cc"]
    subprocess.run([*compiler, *sources, *includes, "-o", str(tmp_path / "main")], check=True)
    assert subprocess.run([tmp_path / "main"], check=False).returncode == 130
