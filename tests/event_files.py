"""What runs have logged."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def losses(run):
    """The loss of every step of a run; no step may be logged twice."""
    found = {}
    for path in sorted(run.rglob("events.*")):
        events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
        if "train/loss" in events.Tags()["scalars"]:
            for event in events.Scalars("train/loss"):
                assert event.step not in found
                found[event.step] = event.value
    return found
