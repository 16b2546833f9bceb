"""`movideo scenes`, `generate` and `export`: one function each, its arguments are the options.

What a command computes with is imported when it runs, and its types are not named here, for which
jsonargparse would import them: its help comes without.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

from movideo.errors import UserError
from movideo.hub import EMBEDDED
from movideo.hub.trust import trust as trust_packages
from movideo.lazy import many_imports
from movideo.storage.atomic import check_writable

DType = Literal["float32", "bfloat16", "float16"]


def scenes(
    out: str,
    clips: int = 16,
    seed: int = 0,
    num_frames: int = 17,
    size: tuple[int, int] = (64, 64),
    readable: float = 0.85,
) -> None:
    """Renders synthetic clips to mp4, with exact depth and flow in a folder `labels` beside them.

    Args:
        out: folder to write to; what is there already stays.
        clips: number of clips.
        seed: sets with different seeds share no clip.
        num_frames: frames a clip.
        size: height and width in pixels.
        readable: share of clips whose motion a picture tells, 0 to 1; the rest moves freely.
    """
    from movideo.scenes.files import SceneSettings, write_scenes

    write_scenes(out, SceneSettings(clips, seed, num_frames, size, readable))
    print(f"{clips} clips in {out}, labels in {Path(out) / 'labels'}")


def export(
    out: str,
    checkpoints: list[str],
    trust: str | list[str] | None = None,
    steps: tuple[int, int] | None = None,
) -> None:
    """Puts stage checkpoints together into one model folder for `movideo generate`.

    Args:
        out: folder to write.
        checkpoints: the .ckpt files of stages 1 and 2, and of stage 3 to decode with it, in any
            order; a model folder among them gives the stages that no file does. One alone gives its
            stage's share of a model, for another run of that stage to start from.
        trust: packages whose classes the checkpoints may name.
        steps: denoising steps [A, B] of motion and video that the model takes where none are asked
            for; by default as many as the solvers need.
    """
    from movideo.hub.assembly import write_share
    from movideo.hub.model_folder import is_checkpoint
    from movideo.pipeline import MoVideoPipeline

    _trust(trust)
    if not checkpoints:
        raise UserError("--checkpoints []: give one or more")
    is_share = len(checkpoints) == 1 and is_checkpoint(checkpoints[0])
    if steps is not None and (is_share or min(steps) < 1):
        wanted = "a whole model, not one stage's share" if is_share else "1 or more of either"
        raise UserError(f"--steps {list(steps)}: give {wanted}")
    if is_share:
        write_share(checkpoints[0], out)
    else:
        pipeline = MoVideoPipeline.from_checkpoints(checkpoints)
        pipeline.default_steps = steps
        pipeline.save_pretrained(out)
    print(f"written to {out}")


def generate(
    image: str | None = None,
    prompt: str | None = None,
    text_to_image: str | None = None,
    model: str = EMBEDDED,
    out: str = "movideo.mp4",
    fps: float = 10.0,
    num_frames: int = 17,
    key_index: int | None = None,
    size: tuple[int, int] = (64, 64),
    steps: int | tuple[int, int] | None = None,
    scheduler: str | tuple[str, str] | None = None,
    seed: int = 0,
    guidance_scale: float | tuple[float, float] = 1.0,
    motion: str | None = None,
    motion_strength: float = 1.0,
    save_motion: str | None = None,
    visualization: str | None = None,
    decode_chunk: int | None = None,
    hold_key_frame: bool = False,
    window: int = 17,
    device: str = "auto",
    dtype: DType = "float32",
    offload: bool = False,
    trust: str | list[str] | None = None,
) -> None:
    """Makes a video from an image or a prompt.

    Args:
        image: the key frame, any picture; its shorter side is resized, the centre cropped.
        prompt: what the key frame shows, in words, instead of an image.
        text_to_image: draws it: the hub id or folder of a text-to-image pipeline of diffusers.
        model: a folder written by `movideo export`; by default the small one that comes along.
        out: the video, .mp4 or .gif.
        fps: frames per second; the networks are trained on 3 to 30.
        num_frames: frames of the video.
        key_index: where the image stands in it, the centre by default.
        size: height and width in pixels; models are made for one size.
        steps: denoising steps of either stage, or [A, B] for motion and video; by default as many
            as the model says, or its solvers need.
        scheduler: solver of the diffusions by its class in diffusers, such as DDIMScheduler, on the
            noise that the model was trained with; one, or [A, B] for motion and video; by default
            the model's own.
        seed: the same seed gives the same video.
        guidance_scale: 1 is no guidance; above, the video follows the image more closely. One
            number, or [A, B] for motion and video.
        motion: used instead of stage 1: a file saved with --save_motion, a video that moves that
            way, or a camera path: camera:NAME or camera:NAME:AMOUNT, NAME being pan_left,
            pan_right, tilt_up, tilt_down, roll_left, roll_right, zoom_in, zoom_out, truck_left,
            truck_right, pedestal_up, pedestal_down, dolly_in, dolly_out, orbit_left, orbit_right.
        motion_strength: how many times as far things move, whatever the motion is from.
        save_motion: a .safetensors file for depth, flows and mask; in colour as mp4 beside it.
        visualization: a .png file: frames, depth, flows, mask and result side by side.
        decode_chunk: decode so many frames at a time, so that memory does not grow with the video.
        hold_key_frame: hold the key frame to the image while the other frames are sampled.
        window: frames generated at once, as many as the model was trained on; longer videos go on
            from the first and the last frame of what is there.
        device: cpu, cuda, or auto.
        dtype: of the networks; the smaller ones halve their memory, and are slow on a CPU.
        offload: keep the networks in main memory, each on the device only while it computes.
        trust: packages whose classes the model may name.
    """
    with many_imports():
        import torch

        from movideo.cli.generation import named_device, read_key_frame, write_video
        from movideo.diffusion import ClassifierFreeGuidance, solver_named
        from movideo.motion import ClipShape, parse_motion
        from movideo.motion import save_motion as write_motion
        from movideo.motion.base import GeneratedMotion
        from movideo.pipeline import MoVideoPipeline
        from movideo.video.write import write_image
        from movideo.visualization.clips import result_visualization, write_motion_videos

    _trust(trust)
    _check_suffix("out", out, ".mp4", ".gif")
    _check_suffix("visualization", visualization, ".png")
    _check_suffix("save_motion", save_motion, ".safetensors")
    for option, number in (("steps", steps), ("num_frames", num_frames), ("window", window)):
        if number is not None and min(number if isinstance(number, tuple) else (number,)) < 1:
            raise UserError(f"--{option} {number}: give 1 or more")
    if decode_chunk is not None and decode_chunk < 1:
        raise UserError(f"--decode_chunk {decode_chunk}: give 1 or more")
    if not 0 <= motion_strength < float("inf"):
        raise UserError(f"--motion_strength {motion_strength}: give 0 or more; 1 changes nothing")
    if not 0 <= seed < 2**63:
        raise UserError(f"--seed {seed}: give 0 to 2^63 - 1")
    if size is not None and min(size) < 1:
        raise UserError(f"--size {list(size)}: give 1 or more pixels")
    source = parse_motion(motion)
    clip = ClipShape(num_frames, num_frames // 2 if key_index is None else key_index, size, fps)
    place = named_device(device)
    for path in (out, visualization, save_motion):
        if path is not None:
            check_writable(path)
    generator = torch.Generator().manual_seed(seed)
    key_frame = read_key_frame(image, prompt, text_to_image, size, generator, place, dtype)
    pipeline = MoVideoPipeline.from_pretrained(model).to(dtype=getattr(torch, dtype))
    if scheduler is not None:
        names = scheduler if isinstance(scheduler, tuple) else (scheduler,) * 2
        learnt = pipeline.motion_scheduler, pipeline.video_scheduler
        solvers = [solver_named(*pair) for pair in zip(names, learnt, strict=True)]
        pipeline.register_modules(motion_scheduler=solvers[0], video_scheduler=solvers[1])
        pipeline.default_steps = None  # those of the solvers that it was made with
    if offload:
        pipeline.enable_model_cpu_offload(device=place)
    else:
        pipeline.to(place)
    options: dict[str, Any] = {
        "fps": fps,
        "num_frames": num_frames,
        "key_index": clip.key_index,
        "num_inference_steps": steps,
        "generator": generator,
    }
    pair = guidance_scale if isinstance(guidance_scale, tuple) else (guidance_scale,) * 2
    guidances = ClassifierFreeGuidance(pair[0]), ClassifierFreeGuidance(pair[1])
    stage_1 = partial(pipeline.generate_motion, key_frame, guidance=guidances[0], **options)
    is_generated = isinstance(source, GeneratedMotion)  # in windows that depend on one another
    result = pipeline.generate(
        key_frame,
        motion=None if is_generated else source.motion(clip, stage_1, motion_strength),
        motion_strength=motion_strength if is_generated else 1.0,
        window=window,
        decode_chunk_size=decode_chunk,
        guidance=guidances,
        hold_key_frame=hold_key_frame,
        **options,
    )
    write_video(out, result.video[0].cpu(), fps)
    if save_motion is not None:
        write_motion(save_motion, result.motion)
        write_motion_videos(save_motion, result.motion, fps)
    if visualization is not None:
        write_image(visualization, result_visualization(key_frame, result.video, result.motion))
    print(f"video in {out}")


def _trust(packages: str | list[str] | None) -> None:
    trust_packages([packages] if isinstance(packages, str) else packages or ())


def _check_suffix(option: str, path: str | None, *suffixes: str) -> None:
    if path is not None and Path(path).suffix not in suffixes:
        raise UserError(f"--{option} {path}: end it in {' or '.join(suffixes)}")
