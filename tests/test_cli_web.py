"""``stylize web``: what is refused before anything is served."""

from __future__ import annotations

import socket
import sys

import pytest
from click.testing import CliRunner

from stylize.cli import main
from stylize.web.private_folder import PrivateFolder
from stylize.web.server import gradio_environment, open_port
from tests.helpers import run_python


def run(*arguments: str):
    return CliRunner().invoke(main, ["web", *arguments])


def test_help_names_the_extra_and_imports_neither_torch_nor_gradio():
    code = """
import sys
from stylize.cli import main
main(["web", "--help"], standalone_mode=False)
assert not {"torch", "gradio"} & set(sys.modules)
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr
    assert "stylize[web]" in result.stdout and "--max-megapixels" in result.stdout


def test_without_gradio_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    result = run("--no-browser")
    assert result.exit_code == 2
    assert result.output.strip().splitlines() == [
        "Error: the web page needs the package gradio; install it: pip install 'stylize[web]'"
    ]


@pytest.fixture
def gradio_is_there(monkeypatch):
    monkeypatch.setattr("stylize.web.server.check_gradio", lambda: None)


def test_a_busy_port_is_one_line(gradio_is_there):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = run("--no-browser", "--port", str(port))
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: port {port} is in use by another program; choose another")
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("host", "warned"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True), ("::", True)]
)
def test_a_page_for_others_is_warned_of(monkeypatch, host, warned):
    def serve(settings, host, port, *, on_ready, browser):
        on_ready("http://127.0.0.1:1/")

    monkeypatch.setattr("stylize.web.server.serve", serve)
    result = run("--no-browser", "--host", host)
    assert result.exit_code == 0 and "The page is at http://127.0.0.1:1/" in result.stdout
    assert ("Warning: everybody who can reach this computer" in result.stderr) == warned
    assert ("no password" in result.stderr) == warned


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1", "256.1.1.1"])
def test_a_wrong_host_is_one_line(gradio_is_there, host):
    result = run("--no-browser", "--host", host, "--port", "0")
    assert result.exit_code == 2
    assert f"host '{host}' given" in result.output and len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max-megapixels", "0"], "a limit of 0 megapixels given"),
        (["--max-megabytes", "-1"], "a limit of -1 megabytes given"),
        (["--max-megapixels", "1000"], "above 0 up to 179 is accepted"),
        (["--port", "70000"], "70000"),
    ],
)
def test_limits_out_of_range_are_refused(arguments, said):
    result = run("--no-browser", *arguments)
    assert result.exit_code == 2 and said in result.output


def test_a_missing_collection_is_refused(gradio_is_there, tmp_path):
    pytest.importorskip("gradio")
    result = run("--no-browser", "--port", "0", "--collection", str(tmp_path / "none.safetensors"))
    assert result.exit_code == 2 and "none.safetensors" in result.output


def test_any_free_port_is_taken():
    with open_port("127.0.0.1", 0) as one, open_port("127.0.0.1", 0) as two:
        assert one.getsockname()[1] != two.getsockname()[1]


def test_the_environment_is_as_before_afterwards(monkeypatch):
    import os

    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    before = dict(os.environ)
    with PrivateFolder() as folder, gradio_environment(folder):
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder.path)
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False" and "GRADIO_SHARE" not in os.environ
    assert dict(os.environ) == before
