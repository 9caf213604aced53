"""Each example, by its README's commands alone: started, refused with a link, connected by that link, and answered."""

import json
import re
from importlib.metadata import version

import pytest
from github import Auth, Github
from packaging.requirements import Requirement
from walk import EXAMPLES, PYTHON, Place, blocks, commands, connect, link_in, listening

PROXY, ADMIN = 8080, 9090
# `{"` in base64.
JWT_BEGINS = "eyJ"


@pytest.fixture
def place(request, tmp_path, provider):
    """The example that a test is about, configured as its README says and served."""
    name, *ports = request.param
    place = Place(name, tmp_path, [PROXY, ADMIN, *ports])
    try:
        yield place
    finally:
        place.close()


def readme(place: Place) -> list[str]:
    """The README's blocks; the first is the three commands."""
    found = blocks((place.folder / "README.md").read_text())
    assert len(commands(found[0])) == 3, "three commands each"
    return found


def init(place: Place, command: str) -> str:
    """`valetkey init`, as it is typed, on this place's ports."""
    ports = f"--port {place.ports[PROXY]} --admin-port {place.ports[ADMIN]}"
    return re.sub(r"^(valetkey init( \w+)+)", rf"\1 {ports}", command)


def ready(place: Place):
    """Waits until Valetkey takes calls."""
    listening(place.ports[PROXY], place.running[0])
    place.must(f"for i in {{1..100}}; do valetkey health --address 127.0.0.1:{ADMIN} && exit; sleep 0.1; done; exit 1")


def reached_with_its_tokens_only(place: Place, provider):
    """Every call had a token of the stand-in's, so the caller's JWT went nowhere; and nobody printed either."""
    assert provider.calls
    for method, path, presented in provider.calls:
        assert presented.removeprefix("Bearer ") in provider.tokens, (method, path)
    assert not any(secret in place.log() for secret in [*provider.tokens, JWT_BEGINS])


@pytest.mark.parametrize("place", [("flask-pygithub", 5000)], indirect=True)
def test_flask_and_pygithub(place, provider):
    (install, configure, start), tries = commands(readme(place)[0]), readme(place)[1]
    assert install.endswith(".venv/bin/pip install --requirement requirements.txt")
    for line in (place.folder / "requirements.txt").read_text().splitlines():
        assert Requirement(line).specifier.contains(version(Requirement(line).name)), f"tested with what {line} allows"
    (place.folder / ".venv").symlink_to(PYTHON.parent.parent)
    told = place.must(init(place, configure))
    assert f"http://localhost:{place.ports[PROXY]}/oauth/callback/github" in told
    place.configure(provider)
    place.start(start, FLASK_RUN_PORT=str(place.ports[5000]))
    ready(place)
    listening(place.ports[5000], place.running[0])
    mint, repositories, issues = commands(tries)
    refused = json.loads(place.must(f"{mint}\n{repositories}"))
    assert refused["message"] == "Connect your GitHub account to continue"
    assert connect(refused["connect"]).endswith("/dashboard?connected=github")
    # The second is on the second page: the link to it leads through Valetkey.
    assert json.loads(place.must(f"{mint}\n{repositories}")) == ["octocat/hello-world", "octocat/of-the-second-page"]
    assert json.loads(place.must(f"{mint}\n{issues}")) == ["Found a bug"]
    reached_with_its_tokens_only(place, provider)


@pytest.mark.parametrize("place", [("express-octokit", 3000)], indirect=True)
def test_express_octokit_and_slack(place, provider):
    (install, configure, start), tries = commands(readme(place)[0]), readme(place)[1]
    assert install == "npm ci"
    packages = EXAMPLES / "express-octokit/node_modules"
    assert (packages / "express").exists(), "scripts/install-test-deps.sh has run"
    (place.folder / "node_modules").symlink_to(packages)
    place.must(init(place, configure))
    place.configure(provider)
    place.start(start, PORT=str(place.ports[3000]))
    ready(place)
    listening(place.ports[3000], place.running[0])
    mint, repositories, digest = commands(tries)
    refused = json.loads(place.must(f"{mint}\n{repositories}"))
    connect(refused["connect"])
    assert json.loads(place.must(f"{mint}\n{repositories}")) == ["octocat/hello-world", "octocat/of-the-second-page"]
    refused = json.loads(place.must(f"{mint}\n{digest}"))
    assert refused["message"] == "Connect your Slack account to continue"
    connect(refused["connect"])
    # Nobody configured `chat:write`; the call needs it, so its link asked for that, too.
    sent = json.loads(place.must(f"{mint}\n{digest}"))
    assert sent == {"text": "Your repositories: octocat/hello-world, octocat/of-the-second-page", "ts": "1503435956.000247"}
    reached_with_its_tokens_only(place, provider)


@pytest.mark.parametrize("place", [("shell",)], indirect=True)
def test_curl_and_git(place, provider):
    (configure, secret, start), tries = commands(readme(place)[0]), readme(place)[1]
    place.must(init(place, configure))
    place.must(secret, CODEBERG_CLIENT_SECRET="known to the stand-in")
    assert (place.folder / "secrets/codeberg-client-secret").read_text() == "known to the stand-in"
    place.configure(provider)
    place.start(start)
    ready(place)
    here = {"VALETKEY_URL": f"http://127.0.0.1:{place.ports[PROXY]}"}
    refused = place.run(f"set -e\n{tries}", **here)
    assert refused.returncode != 0 and "auth_required" in refused.stdout
    connect(link_in(refused.stdout))
    printed = place.must(f"set -e\n{tries}", **here)
    assert '"private": true' in printed and printed.endswith("engine.txt\n")
    assert (place.folder / "notes/engine.txt").read_text().startswith("The Analytical Engine")
    assert JWT_BEGINS not in (place.folder / "notes/.git/config").read_text()
    assert any(path.endswith("/git-upload-pack") for _, path, _ in provider.calls)
    reached_with_its_tokens_only(place, provider)


@pytest.mark.parametrize("place", [("cron",)], indirect=True)
def test_a_cron_job(place, provider):
    (configure, start, install), tries = commands(readme(place)[0]), readme(place)[1]
    # The README has it in ~/nightly.
    place.folder = place.folder.rename(place.folder.parent / "nightly")
    place.must(init(place, configure))
    place.configure(provider)
    place.start(start)
    ready(place)
    # There is no cron on most test machines: this one only says what it was given.
    (place.programs / "crontab").write_text('#!/bin/sh\ncat "$1"\n')
    (place.programs / "crontab").chmod(0o755)
    assert re.search(r"^15 3 \* \* \* cd \"\$HOME/nightly\" && JWT=", place.must(install), re.M)
    tries = tries.replace("env -i ", f"env -i VALETKEY_URL=http://127.0.0.1:{place.ports[PROXY]} ")
    refused = place.run(tries)
    assert refused.returncode == 1 and refused.stdout == ""
    connect(link_in(refused.stderr))
    assert place.must(tries) == "octocat/hello-world: Greetings\n"
    reached_with_its_tokens_only(place, provider)


def test_pygithub_does_not_go_on_where_github_sends_it(provider):
    """What the README says of objects that PyGithub was given: it refuses, and the JWT goes nowhere."""
    provider.tokens["token"] = set()
    github = Github(auth=Auth.Token("token"), base_url=f"{provider.url}/github", lazy=True)
    (issue,) = github.get_repo("octocat/hello-world").get_issues()
    reached = len(provider.calls)
    with pytest.raises(AssertionError, match="api.github.com"):
        issue.create_comment("Me too")
    assert len(provider.calls) == reached


def test_the_example_for_one_machine_is_right(tmp_path):
    """The command that examples/README.md has for it."""
    readme = (EXAMPLES / "README.md").read_text()
    command = re.search(r"`(VALETKEY_KEY=[^`]*)`", readme)[1]
    place = Place("sidecar", tmp_path, [])
    place.must(command.replace("examples/sidecar/", ""))
