"""Video files become frames: the only door to PyAV and FFmpeg.

video.py     opens a file and takes its frames one after the other, each with its time
units.py     reads the heads of H.264 and HEVC units
picture.py   scales, colours, turns and deinterlaces one frame
avi_index.py numbers the pictures of an AVI as its index does
structure.py walks through a container to see whether it ends where it should
probe.py     learns a file's time line and damage without decoding it
windows.py   decodes a range of frames in windows of bounded size
encode.py    writes pictures into a video file
"""

from workers.decode.encode import VideoWriter
from workers.decode.picture import check_size, output_size
from workers.decode.probe import probe
from workers.decode.video import seconds
from workers.decode.windows import decode, entries

__all__ = ["LARGEST_PICTURE_PX", "VideoWriter", "check_size", "decode", "entries", "output_size", "probe", "seconds"]
