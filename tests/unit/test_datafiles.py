from __future__ import annotations

import codecs
from pathlib import Path

import pytest

import convgym
from convgym.customers.personas import load_personas
from convgym.datafiles import check_new_folder
from convgym.errors import ConvgymError
from convgym.shop.catalog import load_catalog

PACKAGE = Path(convgym.__file__).parent
LAPTOPS = (PACKAGE / "data" / "catalogs" / "laptops.json").read_bytes()
DEFAULT = (PACKAGE / "data" / "personas" / "default.json").read_bytes()


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    shop, population = tmp_path / "shop.json", tmp_path / "population.json"
    shop.write_bytes(codecs.BOM_UTF8 + LAPTOPS)
    population.write_bytes(codecs.BOM_UTF8 + DEFAULT)
    assert load_catalog(shop) == load_catalog("laptops")
    assert load_personas(str(population)) == load_personas("default")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"null", b"[" * 5000, LAPTOPS.decode().encode("utf-16"), LAPTOPS[:-20],
        b"\x00" * 20,
    ],
)  # fmt: skip
def test_damaged_files_are_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "shop.json"
    path.write_bytes(content)
    with pytest.raises(ConvgymError, match=r"catalog .*shop\.json is not valid at ") as caught:
        load_catalog(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_json_does_not_have(tmp_path: Path, number: str) -> None:
    path = tmp_path / "population.json"
    text = DEFAULT.decode()
    start = text.index('"share":') + len('"share":')
    end = text.index(",", start)
    path.write_text(f"{text[:start]} {number}{text[end:]}", encoding="utf-8")
    with pytest.raises(ConvgymError, match=r"population\.json is not valid at personas\..*\.share"):
        load_personas(path)


def test_a_folder_that_is_only_tried_is_not_left_behind(tmp_path: Path) -> None:
    check_new_folder(tmp_path / "deep" / "new")
    assert not (tmp_path / "deep").exists()
    (tmp_path / "empty").mkdir()
    check_new_folder(tmp_path / "empty" / "new")
    check_new_folder(tmp_path / "empty")
    assert (tmp_path / "empty").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(ConvgymError, match="cannot write to"):
        check_new_folder(tmp_path / "file" / "new")
