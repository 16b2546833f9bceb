import torch

from movideo.visualization.contact_sheet import GAP, LABEL_WIDTH, contact_sheet


def greys(count):
    """Frame i is of brightness i / count."""
    return (torch.arange(count) / count).view(-1, 1, 1, 1).expand(-1, 3, 4, 6)


def test_a_row_a_video_and_a_column_a_frame():
    sheet = contact_sheet({"one": greys(17), "the other": -greys(17)}, columns=5, cell_height=8)
    assert sheet.shape == (3, 2 * (8 + GAP), LABEL_WIDTH + 5 * (12 + GAP))
    centres = [LABEL_WIDTH + GAP + 6 + i * (12 + GAP) for i in range(5)]
    # frames 0, 4, 8, 12 and 16 of 17
    expected = torch.arange(0, 17, 4) / 17
    torch.testing.assert_close(sheet[0, GAP + 4, centres], expected)
    torch.testing.assert_close(sheet[0, 8 + 2 * GAP + 4, centres], -expected)


def test_short_videos_show_every_frame_once():
    sheet = contact_sheet({"short": greys(2)}, columns=5, cell_height=4)
    assert sheet.shape == (3, 4 + GAP, LABEL_WIDTH + 2 * (6 + GAP))


def test_titles_are_drawn_and_values_clamped():
    sheet = contact_sheet({"title": 3 * torch.ones(1, 3, 4, 4)}, cell_height=24)
    label = sheet[:, :, :LABEL_WIDTH]
    assert label.min() < 0  # ink
    assert label.max() == sheet.max() == 1
