"""The paper's numbers against what else is known of them."""

import pytest
import yaml

from movideo.cli.configs import shipped_config
from movideo.errors import UserError
from movideo.evaluation.published import TABLES, published_table
from movideo.metrics import CLIPSIM, FID, FVD, LPIPS, PSNR, InceptionScore

NAMES = {kind().name for kind in (CLIPSIM, FID, FVD, LPIPS, PSNR, InceptionScore)}
LOWER = {"FID", "FVD", "LPIPS"}


def test_columns_are_called_as_our_metrics():
    columns = {name for table in TABLES.values() for row in table.rows for name in row.values}
    assert columns == NAMES


@pytest.mark.parametrize("name", ["ucf101", "msrvtt"])
def test_the_paper_is_best_in_its_own_tables(name):
    *baselines, paper = published_table(name).rows
    assert paper.method == "MoVideo"
    for column, value in paper.values.items():
        sign = -1 if column in LOWER else 1
        assert all(sign * value > sign * r.values[column] for r in baselines if column in r.values)


def test_decoders_trade_fidelity_for_perception():
    two_d, three_d, ours = (row.values for row in published_table("davis_decoder").rows)
    for column in two_d:
        assert two_d[column] > three_d[column] > ours[column]  # PSNR too: higher would be better


def test_the_tables_that_shipped_configs_name():
    configs = shipped_config("eval/ucf101.yaml").parent.glob("*.yaml")
    named = {
        yaml.safe_load(path.read_text())["model"]["init_args"].get("table") for path in configs
    }
    assert named - {None} == set(TABLES)


def test_others_are_refused():
    with pytest.raises(UserError, match=r"table: ucf; choose one of ucf101, .*, or null"):
        published_table("ucf")
