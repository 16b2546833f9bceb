"""The pictures that the demo starts from, and the table that it ends with."""

import json

import torch

from benchmarks import demo_pictures, demo_table
from datamodules.video_clips import FROZEN_SCENES
from movideo.video.read import probe, read_image


def test_pictures_are_middle_frames_of_clips_that_no_training_has_seen(tmp_path):
    demo_pictures.main(str(tmp_path))
    scene = FROZEN_SCENES.render(demo_pictures.SCENE)
    # Eight bits a colour.
    torch.testing.assert_close(
        read_image(tmp_path / "scene.png"), scene.video[scene.key_index], atol=1 / 255, rtol=0
    )
    info = probe(tmp_path / "real_unseen" / "bigbuckbunny.mp4")
    assert read_image(tmp_path / "film.png").shape == (3, info.height, info.width)


def test_the_table_has_both_models_beside_what_costs_nothing(tmp_path, capsys):
    values = {"psnr": 24.1, "psnr_repeat": 22.7, "psnr_warp": 25.4, "psnr_occluded": 0.25}
    for model, better in (("embedded", 0.0), ("fine-tuned", 1.0)):
        for clips in ("scenes", "film"):
            run = tmp_path / "test" / model / clips
            run.mkdir(parents=True)
            found = {f"test/{name}": value + better for name, value in values.items()}
            (run / "metrics.json").write_text(json.dumps(found))
    demo_table.main(str(tmp_path))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows.count(["PSNR,", "dB", "22.70", "25.40", "24.10", "25.10"]) == 2
    assert rows.count(["PSNR", "where", "occluded,", "dB", "0.25", "1.25"]) == 2
