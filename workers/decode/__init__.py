"""Video files become frames: the only door to PyAV and FFmpeg.

video.py     opens a file and takes its frames one after the other, each with its time
picture.py   scales, colours, turns and deinterlaces one frame
probe.py     learns a file's time line and damage without decoding it
windows.py   decodes a range of frames in windows of bounded size
encode.py    writes pictures into a video file
"""

from workers.decode.encode import VideoWriter
from workers.decode.picture import check_size, output_size
from workers.decode.probe import probe
from workers.decode.video import seconds
from workers.decode.windows import decode, entries

__all__ = ["VideoWriter", "check_size", "decode", "entries", "output_size", "probe", "seconds"]
