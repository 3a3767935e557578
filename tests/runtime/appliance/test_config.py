"""scanside.toml: the example is complete, and every fault names file, line and key."""

import re
import tomllib
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from scanside.runtime.appliance import admission as beside
from scanside.runtime.appliance.config import (
    Config,
    Destination,
    DicomDestination,
    FolderDestination,
    WebDestination,
    load_config,
)
from scanside.runtime.appliance.config.toml_lines import key_lines
from scanside.runtime.errors import UsageError
from tests.support.sentences import assert_one_sentence

pytestmark = pytest.mark.requirement("configuration")

EXAMPLE = Path(beside.__file__).with_name("example.toml")
MINIMAL = '[service]\ndata = "data"\nbundle = "b"\nresearch_use_only = true\n'
NOT_DEFAULTS = {
    "receive.complete_series", "work.folds", "work.on_rejection", "work.threads",
    "destinations.1.authority", "destinations.1.token", "fetch.archives.1.authority", "fetch.archives.1.token",
    "send.ae_title", "service.anchor", "trust.keys.0.name", "trust.keys.0.key", "trust.keys.0.signs",
    "watch.commissioned",
}  # fmt: skip
"""What the example shows of a value other than the default, since the default is nothing."""


def uncommented() -> str:
    return re.sub(r"^# ([a-z_]+ = )", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)


def flat(value: Any, key: str = "") -> dict[str, Any]:
    if isinstance(value, BaseModel):
        parts = {name: getattr(value, name) for name in type(value).model_fields}
        return {k: v for name, part in parts.items() for k, v in flat(part, f"{key}.{name}").items()}
    if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        return {k: v for n, part in enumerate(value) for k, v in flat(part, f"{key}.{n}").items()}
    return {key.removeprefix("."): value}


def fields(model: Any) -> set[str]:
    if get_origin(model) is not None:
        return {name for part in get_args(model) for name in fields(part)}
    if isinstance(model, type) and issubclass(model, BaseModel):
        found = set(model.model_fields)
        return found | {n for field in model.model_fields.values() for n in fields(field.annotation)}
    return set()


def write(folder: Path, text: str) -> Path:
    path = folder / "scanside.toml"
    path.write_text(text)
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_config(write(folder, text))
    return str(caught.value)


def test_the_example_is_valid_with_and_without_its_comments(tmp_path: Path) -> None:
    (engine,) = re.findall(r"(?m)^engine = .*$", uncommented())  # excludes other keys of its table
    plain, full = load_config(EXAMPLE), load_config(write(tmp_path, uncommented().replace(engine, "")))
    there = load_config(write(tmp_path, EXAMPLE.read_text().replace("[work]", f"[work]\n{engine}")))
    assert there.work.engine is not None and there.work.options().engine is not None
    different = {key for key, value in flat(full).items() if flat(plain).get(key) != value}
    assert different == NOT_DEFAULTS
    assert [type(one) for one in plain.destinations] == [DicomDestination, WebDestination, FolderDestination]


def test_every_key_is_in_the_example() -> None:
    document = tomllib.loads(uncommented())

    def keys(value: Any) -> set[str]:
        if isinstance(value, dict) and "unsuitable input" not in value:  # that is a status
            return set(value) | {k for part in value.values() for k in keys(part)}
        return {k for part in value for k in keys(part)} if isinstance(value, list) else set()

    assert keys(document) == fields(Config) | fields(Destination)


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    assert config.service.data == tmp_path / "data" and config.database == tmp_path / "data" / "scanside.db"
    absolute = MINIMAL.replace('"data"', '"/srv/data"')
    assert load_config(write(tmp_path, absolute)).service.data == Path("/srv/data")


def test_a_destination_without_a_kind_is_a_dicom_peer(tmp_path: Path) -> None:
    peer = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'
    assert isinstance(load_config(write(tmp_path, MINIMAL + peer)).destinations[0], DicomDestination)


PEER = 'ae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'


def test_answers_to_storage_commitment_come_over_tls_off_this_machine(tmp_path: Path) -> None:
    tls = 'tls = { certificate = "c", key = "k", authority = "a" }\n'
    out = '[send]\ncommitment_host = "0.0.0.0"\n'
    peer = f'[[destinations]]\nname = "pacs"\n{PEER}'
    words = refusal(tmp_path, MINIMAL + out + peer)
    assert "send.commitment_host 0.0.0.0" in words and "[send.tls]" in words
    for allowed in (
        out + tls + peer,
        out + peer + tls,
        out + "plaintext = true\n" + peer,
        out + peer + "commitment = false\n",
    ):
        load_config(write(tmp_path, MINIMAL + allowed))
    own = load_config(write(tmp_path, MINIMAL + out + tls + peer + tls.replace('"c"', '"d"')))
    assert own.listener_tls is not None and own.listener_tls.certificate == tmp_path / "c"


def test_earlier_results_of_an_archive_are_for_who_keeps_any(tmp_path: Path) -> None:
    archive = f'[[fetch.archives]]\nname = "pacs"\n{PEER}'
    keeps_none = "[retention]\nprior_days = 0\n"
    assert load_config(write(tmp_path, MINIMAL + archive)).fetch.prior_archives == ()
    assert load_config(write(tmp_path, MINIMAL + archive + keeps_none)).fetch.prior_archives == ()
    (one,) = load_config(write(tmp_path, MINIMAL + archive + "priors = true\n")).fetch.prior_archives
    assert one.name == "pacs"
    words = refusal(tmp_path, MINIMAL + archive + "priors = true\n" + keeps_none)
    assert "archive pacs has priors = true" in words and "retention.prior_days = 0" in words


@pytest.mark.requirement("research-use")
@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (MINIMAL + "show_nams = 1\n", 5, ("service.show_nams", "'show_names'")),
        (MINIMAL.replace("true", "false"), 1, ("service", "research use only")),
        (MINIMAL.replace('data = "data"\n', ""), 1, ("service.data", "required")),
        (MINIMAL.replace('"data"', '""'), 2, ("service.data", "empty")),
        (MINIMAL + "[recieve]\n", 5, ("recieve", "'receive'")),
        (MINIMAL + "[receive]\nport = 70000\n", 6, ("receive.port", "70000", "65535")),
        (MINIMAL + "\n\n[receive]\n\nAE-Title = 'X'\n", 9, ("receive.AE-Title", "'ae_title'")),
        (MINIMAL + '[receive]\nae_title = "much too long a title"\n', 6, ("receive.ae_title", "16")),
        (MINIMAL + '[receive]\nhost = "0.0.0.0"\n', 5, ("receive", "reachable from the network")),
        (MINIMAL + '[receive.web]\nhost = "0.0.0.0"\n', 5, ("receive.web", "receive.web.tls")),
        (MINIMAL + '[receive.web]\nhost = "0.0.0.0"\nplaintext = true\n', 5, ("receive.web", "give a token")),
        (
            MINIMAL + '[receive]\ncallers = [\n {ae_title="A"},\n # two\n {ae_title="B", address="pc"}]\n',
            9,
            ("receive.callers[2].address", "'pc'"),
        ),
        (MINIMAL + '[work]\nstep_size = "x"\n', 6, ("work.step_size", "number")),
        (MINIMAL + f'[[destinations]]\nname = "a"\n{PEER}[[destinations]]\nkind = "ftp"\n', 10,
         ("destinations[2]", "'folder'")),
        (MINIMAL + f'[[destinations]]\nname = "a"\n{PEER}\n[destinations.rule]\nobjects = ["seg", "pdf"]\n', 12,
         ("destinations[1].rule.objects[2]", "'pdf'")),
        (MINIMAL + f'[[destinations]]\nname = "a"\n{PEER}[[destinations]]\nname = "a"\n{PEER}', 1, ("called a",)),
        (MINIMAL + '[[destinations]]\nkind = "stow"\nname = "w"\nurl = "http://far/web"\n', 5,
         ("destinations[1]", "https")),
        (MINIMAL + '[watch]\nlog_level = "LOUD"\n', 6, ("watch.log_level", "'LOUD'", "'INFO'")),
        (MINIMAL + "[watch]\nport = 11112\n", 1, ("watch.port", "receive.port", "11112")),
        (MINIMAL + "[retention]\ndays = inf\n", 6, ("retention.days", "finite")),
    ],
)  # fmt: skip
def test_a_fault_names_file_line_and_key(
    tmp_path: Path, text: str, line: int, words: tuple[str, ...]
) -> None:
    message = refusal(tmp_path, text)
    assert_one_sentence(message, f"scanside.toml, line {line}: ", *words)


def test_all_faults_are_told_from_the_first_line_to_the_last(tmp_path: Path) -> None:
    lines = refusal(tmp_path, MINIMAL + "[receive]\nprot = 1\nport = -1\n[work]\ntries = 0\n").splitlines()
    assert [re.search(r"line (\d+): (\S+):", line).groups() for line in lines] == [  # type: ignore[union-attr]
        ("6", "receive.prot"),
        ("7", "receive.port"),
        ("9", "work.tries"),
    ]


@pytest.mark.parametrize("text", ["[service", "a = 1\na = 2", "\x00"])
def test_what_is_not_toml_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    assert_one_sentence(refusal(tmp_path, text), "scanside.toml", "not valid TOML", "line")


def test_a_missing_file_and_one_that_is_not_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(tmp_path / "none.toml")
    assert_one_sentence(str(caught.value), "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError) as caught:
        load_config(tmp_path / "bytes.toml")
    assert_one_sentence(str(caught.value), "UTF-8")


def test_lines_are_found_through_all_of_toml() -> None:
    text = '''a.b = 1
"q.x" = """
[no.table]
x = "\\"""" # comment with = and [
c = [ # first
  1,
  [2, 'x # y'],
  { d = 1, e.f = """z""" },
]
[[t]]
[t.u]
k = 1979-05-27 07:32:00
[[t]]
v = {}
[[t.w]]
[[t.w]]
'm' = ''
'''
    tomllib.loads(text)
    lines = key_lines(text)
    expected: dict[tuple[str | int, ...], int] = {
        ("a",): 1, ("a", "b"): 1, ("q.x",): 2, ("c",): 5, ("c", 0): 6, ("c", 1): 7, ("c", 1, 1): 7, ("c", 2): 8,
        ("c", 2, "e", "f"): 8, ("t",): 10, ("t", 0): 10, ("t", 0, "u"): 11, ("t", 0, "u", "k"): 12, ("t", 1): 13,
        ("t", 1, "v"): 14, ("t", 1, "w", 0): 15, ("t", 1, "w", 1): 16, ("t", 1, "w", 1, "m"): 17,
    }  # fmt: skip
    assert {key: lines.get(key) for key in expected} == expected
    assert ("no",) not in lines


WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=126, blacklist_characters='"\\'), max_size=8)
VALUES = st.one_of(
    st.integers().map(str), WORDS.map(lambda w: f'"{w}"'), st.booleans().map(lambda b: str(b).lower()),
    st.lists(st.integers(0, 9), max_size=3).map(str),
)  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 3), VALUES), max_size=12))
def test_every_key_of_any_document_has_its_line(entries: list[tuple[int, str]]) -> None:
    text, line, expected = "", 1, {}
    for number, (blank, value) in enumerate(entries):
        text += "# [x]\n" * blank + f"key{number} = {value}  # = \"'\n"
        expected[(f"key{number}",)] = line + blank
        line += blank + 1
    tomllib.loads(text)
    assert {key: found for key, found in key_lines(text).items() if len(key) == 1} == expected


def test_the_systemd_unit_fits_the_example_and_takes_privileges_away() -> None:
    lines = EXAMPLE.with_name("example.service").read_text().splitlines()
    unit = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    data = load_config(EXAMPLE).service.data
    assert unit["ReadWritePaths"] == str(data) == f"/var/lib/{unit['StateDirectory']}"
    assert unit["ExecStart"].endswith("scanside serve -c /etc/scanside/scanside.toml")
    assert (unit["NoNewPrivileges"], unit["ProtectSystem"], unit["PrivateTmp"]) == ("yes", "strict", "yes")
    assert unit["Restart"] == "always" and unit["User"] == "scanside" and unit["CapabilityBoundingSet"] == ""
    assert unit["StateDirectoryMode"] == "0700" and unit["UMask"] == "0077" and unit["LimitCORE"] == "0"
