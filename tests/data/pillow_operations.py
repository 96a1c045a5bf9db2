#!/usr/bin/env python3
"""usage: pillow_operations.py FOLDER NAMES

FOLDER/cases: records of <int32 operation, f32 magnitude, f32 centre x, f32 centre y>; FOLDER/images: 32x32x3 bytes for
each. Writes FOLDER/expected: what Pillow makes of them. NAMES: the operations' names in order, by commas.
Exits with 1 where NumPy or Pillow 9.4 is missing."""
import sys

try:
    import numpy as np
    import PIL
    from PIL import Image, ImageDraw, ImageEnhance, ImageOps
except ImportError:
    sys.exit(1)
if not PIL.__version__.startswith("9.4."):
    sys.exit(1)


def affine(image, *matrix):
    return image.transform(image.size, Image.AFFINE, matrix)


def cutout(image, m, x, y):
    side = 32 * m
    x0, y0 = int(max(0, x - side / 2)), int(max(0, y - side / 2))
    image = image.copy()
    ImageDraw.Draw(image).rectangle((x0, y0, min(32, x0 + side), min(32, y0 + side)), (125, 123, 114))
    return image


OPERATIONS = {
    "identity": lambda i, m: i,
    "autocontrast": lambda i, m: ImageOps.autocontrast(i),
    "equalize": lambda i, m: ImageOps.equalize(i),
    "rotate": lambda i, m: i.rotate(m),
    "solarize": lambda i, m: ImageOps.solarize(i, m),
    "color": lambda i, m: ImageEnhance.Color(i).enhance(m),
    "posterize": lambda i, m: ImageOps.posterize(i, max(1, int(m))),
    "contrast": lambda i, m: ImageEnhance.Contrast(i).enhance(m),
    "brightness": lambda i, m: ImageEnhance.Brightness(i).enhance(m),
    "sharpness": lambda i, m: ImageEnhance.Sharpness(i).enhance(m),
    "shear_x": lambda i, m: affine(i, 1, m, 0, 0, 1, 0),
    "shear_y": lambda i, m: affine(i, 1, 0, 0, m, 1, 0),
    "translate_x": lambda i, m: affine(i, 1, 0, m * i.size[0], 0, 1, 0),
    "translate_y": lambda i, m: affine(i, 1, 0, 0, 0, 1, m * i.size[1]),
}

folder, names = sys.argv[1], sys.argv[2].split(",")
cases = np.fromfile(f"{folder}/cases", np.dtype([("op", "<i4"), ("magnitude", "<f4"), ("x", "<f4"), ("y", "<f4")]))
images = np.fromfile(f"{folder}/images", np.uint8).reshape(-1, 32, 32, 3)
expected = np.empty_like(images)
for n, case in enumerate(cases):
    image, magnitude = Image.fromarray(images[n]), float(case["magnitude"])
    name = names[case["op"]]
    if name == "cutout":
        result = cutout(image, magnitude, float(case["x"]), float(case["y"]))
    else:
        result = OPERATIONS[name](image, magnitude)
    expected[n] = np.asarray(result)
expected.tofile(f"{folder}/expected")
