import pytest

from movideo.clips.lists.journal import Journal, stamp

SETTINGS = {"seed": 0, "size": (64, 64)}
RESULTS = {"/a.mp4": [{"start": 1.25}], "/\udcff.mp4": [{"reason": "ü\n"}, {}], "/c.mp4": []}


def write(path, settings=SETTINGS):
    with Journal(path, settings) as journal:
        for number, (name, result) in enumerate(RESULTS.items()):
            journal.add(name, (number, 10**18 + number), result)
    return path.read_bytes()


def test_results_are_kept_and_go_on_being_kept(tmp_path):
    write(tmp_path / "j")
    with Journal(tmp_path / "j", SETTINGS) as journal:
        journal.add("/d.mp4", (9, 9), "new")
        for number, (name, result) in enumerate(RESULTS.items()):
            assert journal.knows(name, (number, 10**18 + number))
            assert journal.result(name) == result
        assert journal.result("/d.mp4") == "new"
        assert not journal.knows("/e.mp4", (0, 0))
        assert not journal.knows("/a.mp4", (1, 10**18))
        assert not journal.knows("/a.mp4", (0, 10**18 + 1))
        journal.add("/a.mp4", (1, 10**18), "changed")
        assert journal.result("/a.mp4") == "changed"
        journal.finish("done")
    with Journal(tmp_path / "j", SETTINGS) as journal:
        assert not journal.knows("/d.mp4", (9, 9))


def test_of_a_finished_run_its_record_stays(tmp_path):
    write(tmp_path / "j")
    journal = Journal(tmp_path / "j", SETTINGS)
    assert not journal.has_finished("done")
    with journal:
        journal.finish("done")
    assert (tmp_path / "j").read_bytes().count(b"\n") == 1
    assert journal.has_finished("done")
    assert not journal.has_finished("other")
    assert not Journal(tmp_path / "j", SETTINGS | {"seed": 1}).has_finished("done")
    assert not Journal(tmp_path / "k", SETTINGS).has_finished("done")


def test_wherever_a_kill_cuts_it_off_only_the_last_line_is_lost(tmp_path):
    whole = write(tmp_path / "j")
    ends = [end for end in range(len(whole) + 1) if whole[:end].endswith(b"\n")]
    for cut in range(len(whole) + 1):
        (tmp_path / "j").write_bytes(whole[:cut])
        with Journal(tmp_path / "j", SETTINGS) as journal:
            known = [journal.knows(name, (n, 10**18 + n)) for n, name in enumerate(RESULTS)]
            assert sum(known) == max(0, sum(end <= cut for end in ends) - 1)
        assert write(tmp_path / "j").endswith(whole[ends[0] :])


def test_other_settings_begin_anew(tmp_path):
    write(tmp_path / "j")
    with Journal(tmp_path / "j", SETTINGS | {"seed": 1}) as journal:
        assert not journal.knows("/a.mp4", (0, 10**18))
    with Journal(tmp_path / "j", SETTINGS) as journal:
        assert not journal.knows("/a.mp4", (0, 10**18))


def test_without_a_result_there_is_no_file(tmp_path):
    with Journal(tmp_path / "deep" / "j", SETTINGS):
        pass
    assert list(tmp_path.iterdir()) == []


def test_stamp(tmp_path):
    assert stamp(tmp_path / "a") == (-1, -1)
    (tmp_path / "a").write_bytes(b"xyz")
    assert stamp(tmp_path / "a") == (3, (tmp_path / "a").stat().st_mtime_ns)


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"{}\n{}\n", b"no json"])
def test_a_file_that_is_no_journal_is_begun_anew(tmp_path, text):
    (tmp_path / "j").write_bytes(text)
    whole = write(tmp_path / "j")
    with Journal(tmp_path / "j", SETTINGS) as journal:
        assert journal.knows("/a.mp4", (0, 10**18))
    assert whole.count(b"\n") == 1 + len(RESULTS)
