"""The same files give the same store, to the byte, whatever surrounds the run."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from kill_checks import require_readable, require_whole
from kill_corpus import config_table, differing, tree_digest, write_config, write_mixed
from kill_process import Child

pytest_plugins = ("kill_fixtures",)

SURROUNDINGS = {
    "far": {
        "environment": {"TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1"},
        "umask": 0o077,
        "workers": 2,
    },
    "ascii": {
        "environment": {"TZ": "America/St_Johns", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        "umask": 0o000,
        "workers": 1,
    },
}


@pytest.mark.parametrize("name", ["far", pytest.param("ascii", marks=pytest.mark.slow)])
def test_zone_locale_umask_hash_seed_folder_workers_and_order_change_no_byte(mixed, kill_folder, name):
    surroundings = SURROUNDINGS[name]
    folder = kill_folder / f"identity-{name}"
    folder.mkdir()
    write_mixed(folder / "media", order=len(name))
    table = config_table(folder, shard_clips=4) | {"engine": {"workers": surroundings["workers"]}}
    child = Child(
        "fill",
        write_config(folder, table),
        environment=surroundings["environment"],
        umask=surroundings["umask"],
        cwd="/",
    )
    assert child.wait() == 0, child.error
    require_whole(folder / "store")
    assert differing(tree_digest(folder / "store"), mixed.digest) == []


def test_real_films_cut_by_their_captions_give_the_same_bytes_twice(corpora, two_forks, kill_folder):
    films = sorted((corpora / "grid" / "raw").glob("*.mpg"))[:3]

    def fill(side: int) -> dict[str, str]:
        folder = kill_folder / f"identity-grid-{side}"
        (folder / "media").mkdir(parents=True)
        for film in films if side else reversed(films):
            for source in (film, film.with_suffix(".vtt")):
                shutil.copyfile(source, folder / "media" / source.name)
        table = config_table(folder, shard_clips=8, clips={"rule": "cues"})
        table["engine"]["workers"] = 1 + side
        assert two_forks[side].run("fill", write_config(folder, table)) == 0, two_forks[side].error
        return tree_digest(folder / "store")

    with ThreadPoolExecutor(2) as pool:
        left, right = pool.map(fill, range(2))
    assert differing(left, right) == []
    assert require_readable(kill_folder / "identity-grid-0" / "store") >= 3 * 6 * 3
