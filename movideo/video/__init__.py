"""Video in and out: reading by time, writing, finding files and choosing clips.

Scenes (`movideo.video.scenes`) and label shards (`movideo.video.labels`) are imported from there.
"""

from movideo.video.clips import Clip, ClipSettings, content_hash, draw_clips, read_clip
from movideo.video.index import ClipIndex, index_clips
from movideo.video.read import VideoError, VideoInfo, probe, read_frames, read_image
from movideo.video.sources import find_videos
from movideo.video.write import write_gif, write_image, write_mp4

__all__ = [
    "Clip",
    "ClipIndex",
    "ClipSettings",
    "VideoError",
    "VideoInfo",
    "content_hash",
    "draw_clips",
    "find_videos",
    "index_clips",
    "probe",
    "read_clip",
    "read_frames",
    "read_image",
    "write_gif",
    "write_image",
    "write_mp4",
]
