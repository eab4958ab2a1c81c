"""Archives and backups belong to one state folder: a copy of it neither adds to them nor removes anything."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups import archive_of, folder_of_servers, new_server, small_disk, values
from energy_forecast.database import Database
from energy_forecast.errors import BackupError, ServerError
from energy_forecast.operations.recovery.archive import own_archive
from energy_forecast.operations.recovery.base_backup import make_base_backup
from energy_forecast.postgres import EmbeddedServer
from energy_forecast.postgres.identity import adopt_identity, original_of, own_ids, take_identity
from servers import CommandLine


@pytest.fixture
def place() -> Iterator[Path]:
    with folder_of_servers() as folder:
        yield folder


def line(home: Path) -> CommandLine:
    return CommandLine({"ENERGY_FORECAST_HOME": str(home)})


def files(*folders: Path) -> dict[Path, int]:
    """Every file with its time; locks and new segments of the living original aside."""
    return {
        path: path.stat().st_mtime_ns
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("lock", "owner")
    }


def copied(home: Path, to: Path) -> Path:
    """Make a cold copy, as with `cp -a`."""
    for parent, folders, names in os.walk(shutil.copytree(home, to, symlinks=True)):
        for name in (*folders, *names):
            one = Path(parent) / name
            found = (home / one.relative_to(to)).lstat()
            os.chown(one, found.st_uid, found.st_gid, follow_symlinks=False)
    return to


def test_a_copy_changes_nothing_of_the_originals(place: Path) -> None:
    """Until it is adopted; and then it still removes nothing that the original has made."""
    home, archive, dumps = place / "home", place / "archive", place / "dumps"
    server = new_server(home, archive)
    make_base_backup(server)
    make_base_backup(server, incremental=False)
    line(home).run("recovery", "point", "here")
    for _ in range(2):
        line(home).run("backup", "create", "--folder", dumps)
    server.stop()
    clone = line(copied(home, place / "clone"))
    before = files(archive, dumps)

    destructive = [
        ("recovery", "prune", "--older-than", "1min", "--keep", "1"),
        ("recovery", "prune", "--dry-run"),
        ("recovery", "base"),
        ("recovery", "point", "there"),
        ("recovery", "enable", "--restart"),
        ("recovery", "enable", "--restart", "--archive", archive),
        ("recovery", "drill"),
        ("backup", "prune", "--older-than", "1min", "--keep", "1", "--folder", dumps),
        ("backup", "prune", "--older-than", "1min", "--keep", "1"),
        ("backup", "create", "--folder", dumps),
    ]
    for command in destructive:
        assert f"is a copy of {home}" in clone.run(*command, status=1).stderr, command
    risks = json.loads(clone.run("recovery", "status", "--json", status=1).stdout)["risks"]
    assert any(f"is a copy of {home}" in risk for risk in risks)
    assert values(Database(EmbeddedServer(place / "clone").url), "SHOW archive_mode") == [("off",)]

    assert "still exists" in clone.run("recovery", "adopt", "--moved", status=1).stderr
    clone.run("recovery", "adopt")
    assert "belongs to the server of" in clone.run("recovery", "enable", "--archive", archive, status=1).stderr
    clone.run("recovery", "enable", "--restart", "--archive", place / "own")
    clone.run("recovery", "base")
    clone.run("backup", "create", "--folder", dumps)
    new = files(dumps).keys() - before.keys()
    done = json.loads(clone.run("backup", "prune", "--older-than", "1min", "--json", "--folder", dumps).stdout)
    assert (done["removed"], len(done["kept"]), len(done["foreign"])) == ([], 1, 2)
    assert {path: time for path, time in files(archive, dumps).items() if path not in new} == before

    # The original is as it was
    line(home).run("db", "up")
    line(home).run("recovery", "base")
    done = json.loads(line(home).run("backup", "prune", "--json", "--folder", dumps).stdout)
    assert (len(done["kept"]), len(done["foreign"])) == (2, 1)


def test_a_server_that_was_moved_takes_its_archive_along(place: Path) -> None:
    server = new_server(place / "home", place / "archive")
    make_base_backup(server)
    server.stop()
    (place / "home").rename(place / "renamed")
    assert own_archive(EmbeddedServer(place / "renamed")).folder == place / "archive"
    line(place / "renamed").run("recovery", "base")
    line(place / "renamed").run("db", "down")

    moved = copied(place / "renamed", place / "moved")
    shutil.rmtree(place / "renamed")
    with pytest.raises(BackupError, match="is a copy of"):
        own_archive(EmbeddedServer(moved))
    line(moved).run("recovery", "adopt", "--moved")
    line(moved).run("recovery", "enable", "--restart")
    line(moved).run("recovery", "base")
    line(moved).run("recovery", "prune")


def test_another_cluster_in_the_folder_is_another_server(place: Path) -> None:
    """Its WAL has the names of the earlier one's."""
    server = new_server(place / "home", place / "archive")
    server.stop()
    shutil.rmtree(server.status().data)
    assert values(Database(server.start().url), "SHOW archive_mode") == [("off",)]
    with pytest.raises(BackupError, match="belongs to another server"):
        own_archive(server)


@pytest.mark.parametrize("loss", ["damaged", "removed", "removed before a start"])
def test_a_lost_identity_is_recovered_by_its_remedy(place: Path, loss: str) -> None:
    """The archive and the backups are still this server's, and a copy cannot take them in this way."""
    server = new_server(place / "home", place / "archive")
    make_base_backup(server)
    shell = line(server.home)
    shell.run("backup", "create", "--folder", place / "dumps")
    identity = server.home / "identity"
    if loss == "damaged":
        identity.write_text("{}")
    else:
        identity.unlink()
    if loss == "removed before a start":
        server.restart()
    assert "recovery adopt --moved" in shell.run("recovery", "base", status=1).stderr

    if loss != "damaged":
        server.stop()
        clone = copied(server.home, place / "clone")
        (clone / "identity").unlink(missing_ok=True)
        take_identity(clone)
        take_identity(server.home)
        archive = archive_of(server)
        document = json.loads(archive.owner.read_text())
        archive.owner.write_text(json.dumps(document | {"id": take_identity(server.home).id}))
        assert "still exists" in line(clone).run("recovery", "adopt", "--moved", status=1).stderr
        archive.owner.write_text(json.dumps(document))
        server.start()

    shell.run("recovery", "adopt", "--moved")
    shell.run("recovery", "enable", "--restart")
    shell.run("recovery", "base")
    done = json.loads(shell.run("backup", "prune", "--json", "--folder", place / "dumps").stdout)
    assert (len(done["kept"]), done["foreign"]) == (1, [])
    assert "not a copy" in shell.run("recovery", "adopt", "--moved", status=1).stderr


def test_a_copy_is_recognised_whatever_way_it_was_made(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    identity = take_identity(home)
    assert take_identity(home).id == identity.id
    assert own_ids(home) == {identity.id}

    home.rename(tmp_path / "elsewhere")
    assert original_of(tmp_path / "elsewhere") is None
    (tmp_path / "elsewhere").rename(home)

    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "identity").hardlink_to(home / "identity")
    assert original_of(linked) is not None
    assert original_of(home) is None
    (linked / "identity").unlink()

    # In the very place of the original, which is elsewhere now
    home.rename(tmp_path / "original")
    shutil.copytree(tmp_path / "original", home)
    assert own_ids(home) == set()
    with pytest.raises(ServerError, match="is a copy of"):
        take_identity(home)
    assert original_of(tmp_path / "original") is None
    assert adopt_identity(home, moved=False).ids.isdisjoint({identity.id})

    # Another disk at the same place has other numbers; a folder that stays where it is does not become a copy by that
    document = json.loads((home / "identity").read_text())
    (home / "identity").write_text(json.dumps(document | {"device": 0}))
    assert original_of(home) is None
    (home / "identity").write_text(json.dumps(document | {"device": 0, "home": "/other"}))
    assert original_of(home) is not None
    (home / "identity").write_text("{}")
    with pytest.raises(ServerError, match="damaged"):
        own_ids(home)


def test_a_warning_names_what_the_disk_of_the_data_holds(place: Path) -> None:
    """The loss of that disk would take backups and data at once. The state is good all the same."""
    server = EmbeddedServer(place / "home")
    server.start()
    shell = line(server.home)
    shell.run("recovery", "enable", "--restart")
    shell.run("recovery", "base")
    shell.run("backup", "create")
    shell.run("recovery", "drill")
    done = json.loads(shell.run("recovery", "status", "--json").stdout)
    assert done["good"]
    assert [
        str(server.home / name) in warning
        for name, warning in zip(("backups", "recovery"), done["warnings"], strict=True)
    ]
    text = shell.run("recovery", "status").stdout
    assert text.startswith("good, with warnings")
    assert text.count("warning: The") == 2
    server.stop()
    with small_disk(place / "disk", "64M"):
        (server.home / "backups").rename(place / "backups")
        (server.home / "backups").symlink_to(place / "disk")
        warnings = json.loads(shell.run("recovery", "status", "--json", status=1).stdout)["warnings"]
        assert [str(server.home / "recovery") in warning for warning in warnings] == [True]
