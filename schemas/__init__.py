"""What travels between the parts of vidu-pipe and what lies on disk. No compute; no torch, ray, cv2 or av."""
