"""Each block of shell commands in the documentation is typed here, by tests/examples, or is on the list of those that can't be."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from pages import ROOT, in_the_book, shell
from provider import CLIENT_SECRET
from terminal import ADMIN, PROXY, REDIS, Terminal
from walk import BINARY, connect, free_ports, link_in

DOCS = ROOT / "docs"
# Page and first line: why nobody types it here.
NOT_TYPED = {
    ("README.md", "make demo     # a stand-in provider, a service and a user on this machine; prints what to try"): "it builds; tests/it runs the demo",
    ("README.md", "valetkey init github                         # writes valetkey.yaml and its keys; prints the callback URL to register"): "tests/it/newcomer.rs types it",
    ("docs/START.md", "scripts/install-build-deps.sh"): "it builds what is tested here",
    ("docs/INSTALL.md", "skopeo copy oci-archive:target/image/valetkey-0.1.0-amd64.oci.tar docker://registry.example.com/valetkey:0.1.0"): "it needs a registry",
    ("docs/INSTALL.md", 'docker build --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" --tag valetkey:0.1.0 .'): "it needs a container daemon",
    ("docs/INSTALL.md", "sudo dpkg --install valetkey_0.1.0-1_amd64.deb"): "tests/dist types it",
    ("docs/INSTALL.md", "sudo tar --extract --gzip --strip-components 1 --directory /usr/local --file valetkey-0.1.0-x86_64-linux-gnu.tar.gz"): "tests/dist types it",
    ("docs/INSTALL.md", "sha256sum --check SHA256SUMS"): "tests/dist types it",
    ("docs/KUBERNETES.md", "kubectl create namespace identity"): "it needs a cluster; tests/helm walks the trial without one",
    ("docs/KUBERNETES.md", "helm -n identity install try helm/valetkey --values trial.yaml --wait"): "as above",
    ("docs/KUBERNETES.md", "kubectl -n identity port-forward service/try-valetkey 8080 &"): "as above",
    ("docs/PERFORMANCE.md", "make bench                                             # Valetkey, two bare proxies and three peers, hot and cold: some four minutes"): "it measures for minutes",
    ("docs/AUDIT.md", 'curl -H "Authorization: Bearer $ADMIN_TOKEN" "http://127.0.0.1:9090/admin/audit?user=ada&since=7d"'): "tests/it/audit.rs asks all of it",
    ("docs/AUDIT.md", "valetkey report audit --verify --config valetkey.yaml"): "as above",
    ("docs/AUDIT.md", "valetkey report audit --raw --config valetkey.yaml > export.jsonl"): "as above",
    ("docs/OPERATIONS.md", "date --utc; curl --silent --head https://api.github.com | grep --ignore-case ^date"): "it asks a server elsewhere",
}
TYPED = {"README.md": 1, "docs/START.md": 4, "docs/API.md": 1, "docs/PROVIDERS.md": 1, "docs/OPERATIONS.md": 19}


def blocks(page: Path) -> list[str]:
    """The blocks of a page that are typed here, in order."""
    name = str(page.relative_to(ROOT))
    return [block for block in shell(page) if (name, block.splitlines()[0]) not in NOT_TYPED]


@pytest.fixture
def terminal(tmp_path):
    """A shell in an empty folder."""
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


def test_no_block_is_left_out():
    pages = [page for page in in_the_book() if not page.is_relative_to(ROOT / "examples")]
    there = {(str(page.relative_to(ROOT)), block.splitlines()[0]) for page in pages for block in shell(page)}
    assert set(NOT_TYPED) <= there, "what is named has to be there"
    left = {str(page.relative_to(ROOT)): len(blocks(page)) for page in pages}
    assert {name: count for name, count in left.items() if count} == TYPED


def with_stand_in(terminal: Terminal, provider):
    """Puts the stand-in's addresses where GitHub's would be; client and secret stay the reader's to write."""
    file = terminal.folder / "try-valetkey/valetkey.yaml"
    config = yaml.safe_load(file.read_text())
    config["services"]["github"] |= provider.service("github") | {"client_id": config["services"]["github"]["client_id"]}
    file.write_text(yaml.safe_dump(config, sort_keys=False))


def answer(said: str) -> dict:
    """The JSON that a block printed last."""
    return json.loads(next(line for line in reversed(said.splitlines()) if line.startswith("{")))


def test_start(terminal, provider):
    configure, call, client, again = blocks(DOCS / "START.md")
    told = terminal.must(configure)
    assert f"http://localhost:{terminal.ports[PROXY]}/oauth/callback/github" in told
    with_stand_in(terminal, provider)
    refused = answer(terminal.must(call))
    shown = json.loads(re.search(r"```json\n(.*?)```", (DOCS / "START.md").read_text(), re.S)[1])
    varying = ("auth_url", "request_id")
    assert list(shown) == list(refused)
    assert [shown[name] for name in shown if name not in varying] == [refused[name] for name in refused if name not in varying]
    terminal.must(f"GITHUB_CLIENT_ID={provider.service('github')['client_id']} GITHUB_CLIENT_SECRET={CLIENT_SECRET}")
    terminal.must(client)
    terminal.until("grep --quiet 'configuration was reloaded' valetkey.log")
    link = answer(terminal.must(call.split("&\n", 1)[1]))["auth_url"]
    assert connect(link).endswith("/dashboard?connected=github")
    assert answer(terminal.must(again))["login"] == "octocat"


def test_a_shell_is_told_where_the_api_is(terminal):
    (commands,) = blocks(ROOT / "README.md")
    terminal.must("valetkey init github")
    terminal.must(commands)
    url = f"http://127.0.0.1:{terminal.ports[PROXY]}/proxy/github"
    assert url in terminal.must("echo $VALETKEY_GITHUB_URL") and url in terminal.must("echo $GITHUB_API_URL")


def test_providers(terminal):
    (commands,) = blocks(DOCS / "PROVIDERS.md")
    assert '"base_url": "https://api.github.com"' in terminal.must(commands)


def test_a_provider_in_another_way_is_a_configuration(terminal):
    text = (DOCS / "PROVIDERS.md").read_text()
    examples = [yaml.safe_load(re.sub("^  ", "", found[2], flags=re.M) if found[1] else found[2]) for found in re.finditer(r"^( *)```yaml\n(.*?)^ *```", text, re.S | re.M)]
    terminal.must("valetkey init github && echo secret | tee secrets/github > secrets/google")
    file = terminal.folder / "valetkey.yaml"
    config = yaml.safe_load(file.read_text())
    assert len(examples) == 3
    for services in examples:
        file.write_text(yaml.safe_dump(config | services))
        terminal.must("valetkey check --config valetkey.yaml")


def test_what_start_adds_to_a_configuration_is_one(terminal):
    service, store = (yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", (DOCS / "START.md").read_text(), re.S | re.M))
    terminal.must("valetkey init github && echo secret > secrets/crm")
    file = terminal.folder / "valetkey.yaml"
    config = yaml.safe_load(file.read_text())
    config["services"] |= service["services"]
    file.write_text(yaml.safe_dump(config | store))
    assert "Redis at 127.0.0.1" in (said := terminal.must("valetkey check --config valetkey.yaml")) and "crm, github" in said
    assert yaml.safe_dump(service) in [yaml.safe_dump(yaml.safe_load(text)) for text in re.findall(r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), re.S | re.M)]


def test_the_api_is_tried_on_the_demo(terminal):
    (commands,) = blocks(DOCS / "API.md")
    (port,) = free_ports(1)
    demo = subprocess.Popen([BINARY, "demo", "--port", str(port)], stdout=subprocess.PIPE, text=True)
    try:
        jwt = next(found[0] for line in demo.stdout if (found := re.search(r"eyJ[\w.-]+", line)))
        typed = commands.replace(":8080", f":{port}").replace("JWT='…'", f"JWT='{jwt}'")
        said = terminal.must(typed)
        assert '"connections":[]' in said and '"dashboard_url"' in said and "404 Not Found" in said
        assert f"http://127.0.0.1:{port}/connect/demo-hub?ticket=" in said or "/connect/demo-hub?ticket=" in said
    finally:
        demo.kill()
        demo.wait()


class Running:
    """A process that `valetkey init` configured, and the runbooks' commands for it."""

    def __init__(self, terminal: Terminal):
        self.terminal = terminal
        # In the order of docs/OPERATIONS.md.
        names = """probes metrics overview funnel failures redis reload new_key back_up_redis restore_redis back_up_file second_key old_key
            disk erase report_connections ask_connections dry_run give_up"""
        self.commands = dict(zip(names.split(), blocks(DOCS / "OPERATIONS.md"), strict=True))
        terminal.must("valetkey init github")
        self.file = terminal.folder / "valetkey.yaml"
        # No load balancer has to notice.
        self.file.write_text(self.file.read_text() + "shutdown: { delay: 0s }\n")

    def serve(self):
        """Starts it, and waits until it is ready."""
        self.terminal.must("valetkey serve --config valetkey.yaml 2>> valetkey.log &\nVALETKEY_PID=$!")
        self.until_ready()

    def until_ready(self):
        """Waits until the store, too, answers."""
        self.terminal.until(f"valetkey health --address 127.0.0.1:{ADMIN} | grep --quiet '\"ready\"'")

    def stop(self):
        """Ends it in order."""
        # As docs/OPERATIONS.md stops it before it copies the file.
        self.terminal.must("\n".join(self.commands["back_up_file"].splitlines()[:2]))

    def keys(self, keys: list[dict]):
        """Gives it other sealing keys, one a line as people write them."""
        lines = "".join(f"    - {{ id: \"{key['id']}\", key_file: {key['key_file']} }}\n" for key in keys)
        self.file.write_text(re.sub(r"  keys:.*\n(    - .*\n)*", f"  keys:\n{lines}", self.file.read_text()))

    def as_ada(self, request: str) -> str:
        """Asks the JSON API."""
        mint = "$(valetkey mint --user ada --config valetkey.yaml)"
        return self.terminal.must(f'curl --silent --show-error --fail-with-body http://127.0.0.1:{PROXY}{request} --header "Authorization: Bearer {mint}"')

    def put_key(self, key: str = "k-0123456789"):
        """Stores an API key of Ada's."""
        self.as_ada(f"/connections/github/api-key --request PUT --json '{{\"api_key\": \"{key}\"}}'")

    def connections(self) -> list[dict]:
        """What she has."""
        return answer(self.as_ada("/connections"))["connections"]


def test_operations_of_one_process(terminal):
    running = Running(terminal)
    running.serve()
    assert '{"status":"ready","detail":{}}' in terminal.must(running.commands["probes"])
    assert "valetkey_build_info" in terminal.must(running.commands["metrics"])
    assert f"http://127.0.0.1:{terminal.ports[ADMIN]}/admin/sign-in?link=" in terminal.must(running.commands["overview"])
    terminal.must(running.commands["reload"])
    terminal.until("grep --quiet 'configuration was reloaded' valetkey.log")
    running.put_key()
    terminal.must(running.commands["back_up_file"])
    terminal.must("VALETKEY_PID=$!")
    running.until_ready()
    assert len(running.connections()) == 1
    assert "valetkey.redb" in terminal.must(running.commands["disk"])
    terminal.must(running.commands["erase"])
    assert running.connections() == []
    terminal.must(running.commands["back_up_file"].replace("cp valetkey.redb backup.redb", "cp backup.redb valetkey.redb"))
    running.until_ready()
    assert len(running.connections()) == 1, "it is restored"


def test_a_redis_that_came_back_empty_is_restored_while_valetkey_runs(terminal):
    running = Running(terminal)
    port = terminal.ports[REDIS]
    running.file.write_text(re.sub(r"embedded: .*", f"redis: {{ url: redis://127.0.0.1:{port}/0 }}", running.file.read_text()))
    *_, start = running.commands["restore_redis"].splitlines()
    # In a folder where there is nothing, and nothing stays.
    empty = start.replace("--dir .", "--dir nowhere --save ''")
    terminal.must(f"mkdir nowhere; {empty}")
    try:
        terminal.until(running.commands["redis"].splitlines()[0])
        running.serve()
        running.put_key()
        assert '"insights":[]' in terminal.must(running.commands["funnel"])
        assert '{"failures":[]}' in terminal.must(running.commands["failures"])
        terminal.must(running.commands["report_connections"])
        assert '"connections":[]' in terminal.must(running.commands["ask_connections"])
        dry_run = answer(terminal.must(running.commands["dry_run"]))
        assert (dry_run["dry_run"], dry_run["connections"]) == (True, 0)
        terminal.must(running.commands["back_up_redis"])
        terminal.must(f"redis-cli -u redis://127.0.0.1:{REDIS} shutdown nosave\n{empty}")
        terminal.until("grep --quiet 'the store had lost the root secret; it was put back' valetkey.log")
        running.until_ready()
        assert running.connections() == []
        terminal.must(running.commands["restore_redis"])
        terminal.until(running.commands["redis"].splitlines()[0])
        running.until_ready()
        assert len(running.connections()) == 1
        terminal.must(running.commands["redis"])
    finally:
        terminal.run(f"redis-cli -u redis://127.0.0.1:{REDIS} shutdown nosave")


def test_sealing_keys_are_rotated(terminal):
    running = Running(terminal)
    first = yaml.safe_load(running.file.read_text())["vault"]["keys"][0]["id"]
    running.serve()
    running.put_key()
    running.stop()
    terminal.must(running.commands["second_key"])
    text = next(text for text in re.findall(r"^ *```yaml\n(.*?)^ *```", (DOCS / "OPERATIONS.md").read_text(), re.S | re.M) if "vault:" in text)
    keys = yaml.safe_load(re.sub("^   ", "", text, flags=re.M))["vault"]["keys"]
    keys[0]["id"] = first
    running.keys(keys)
    running.serve()
    assert len(running.connections()) == 1
    running.stop()
    running.keys(keys[::-1])
    running.serve()
    assert len(running.connections()) == 1
    running.stop()
    assert "warning: 1 records are opened by no key of the vault" in terminal.must(running.commands["old_key"])
    # What is written anew has the new seal.
    running.serve()
    running.put_key("k-9876543210")
    running.stop()
    assert "warning" not in terminal.must(running.commands["old_key"])


def test_without_its_key_a_store_is_closed_and_a_new_one_begins(terminal):
    running = Running(terminal)
    running.serve()
    running.put_key()
    running.stop()
    terminal.must(running.commands["new_key"])
    running.keys([{"id": "new", "key_file": "secrets/vault-key-new"}])
    terminal.must("valetkey serve --config valetkey.yaml 2>> valetkey.log &\nVALETKEY_PID=$!")
    terminal.until("grep --quiet 'the store was sealed with another vault key: put that key into vault.keys' valetkey.log")
    assert '"vault"' in terminal.run(f"curl --silent http://127.0.0.1:{ADMIN}/readyz")[0]
    running.stop()
    running.file.write_text(running.file.read_text().replace("valetkey.redb", "anew.redb"))
    running.serve()
    assert running.connections() == []
