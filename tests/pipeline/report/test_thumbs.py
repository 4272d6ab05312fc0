"""Pictures of mistakes come from the right frame of the video."""

import base64

import cv2
import numpy as np
import pytest

from pipeline.report.drawing.thumbs import HEIGHT_PX, middle_moment, picture, png
from schemas.config import ExtractSettings, Sampling
from schemas.streams import Flow, Rgb
from tests.videos import number_of, write_video
from workers.flow import make_flow


def settings_of(**sampling):
    return ExtractSettings(sampling=Sampling(**sampling), streams=(Rgb("x"), Flow("x", method="dis")), short_side_px=72)


def decoded(address):
    kind, _, data = address.partition(";base64,")
    assert kind in ("data:image/jpeg", "data:image/png")
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_the_frame_is_the_middle_moment_and_its_time_the_containers(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=40, fps=20)
    thumb = middle_moment(str(path), settings_of(every=8), None)  # moments 0 8 16 24 32
    assert number_of(decoded(thumb.frame)) == 16
    assert thumb.pts_s == pytest.approx(0.8)
    assert (thumb.flow, thumb.trouble) == ("", "")


def test_flow_to_the_right_is_red_at_its_scale(tmp_path):
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 255, (72, 200), dtype=np.uint8), (0, 0), 2)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    images = [np.repeat(texture[:, 60 - 2 * k : 156 - 2 * k, None], 3, axis=2) for k in range(10)]
    path = write_video(tmp_path / "right.mp4", images=images, options={"crf": "5"})
    thumb = middle_moment(str(path), settings_of(every=3), make_flow("dis"))
    assert thumb.scale_px in (2, 5)  # two pixels a frame
    red, green, blue = decoded(thumb.flow).reshape(-1, 3).mean(0)
    assert red > 240
    assert green < 200
    assert blue < 200


@pytest.mark.parametrize("frames", [1, 2])
def test_the_shortest_videos_have_pictures(tmp_path, frames):
    path = write_video(tmp_path / "short.mp4", frames=frames)
    thumb = middle_moment(str(path), settings_of(every=8), make_flow("dis"))
    assert number_of(decoded(thumb.frame)) == 0
    assert bool(thumb.flow) == (frames == 2)


def test_a_video_that_is_gone_or_broken_is_trouble_and_no_error(tmp_path):
    assert "no such file" in middle_moment(str(tmp_path / "gone.mp4"), settings_of(every=8), None).trouble
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 100)
    thumb = middle_moment(str(broken), settings_of(every=8), None)
    assert "broken.mp4" in thumb.trouble
    assert thumb.frame == ""


def test_pictures_are_small_and_upright():
    rgb = np.zeros((336, 100, 3), np.uint8)
    rgb[:168, :, 0] = 255
    small = decoded(picture(rgb))
    assert small.shape == (HEIGHT_PX, 50, 3)
    assert small[10, 25].tolist() == pytest.approx([255, 0, 0], abs=12)
    assert (decoded(png(rgb)) == rgb).all()
