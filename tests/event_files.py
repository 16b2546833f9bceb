"""What runs have logged."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def losses(run, repeats=False):
    """The loss of every step of a run; none is logged twice, or where it may be, it is the same."""
    found = {}
    for path in sorted(run.rglob("events.*")):
        events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
        if "train/loss" in events.Tags()["scalars"]:
            for event in events.Scalars("train/loss"):
                assert event.step not in found or (repeats and found[event.step] == event.value)
                found[event.step] = event.value
    return found
