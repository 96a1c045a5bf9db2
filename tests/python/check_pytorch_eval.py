"""Loads a resnet8 that mlkd trained into PyTorch and compares its logits with those that mlkd computed.

    check_pytorch_eval.py CHECKPOINT CASE

CASE is a safetensors file with images (N, 32, 32, 3), as the network takes them, and logits (N, classes). Needs torch
alone: the files are read by hand.
"""
import json
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional


def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + int.from_bytes(data[:8], "little")
    types = {"F32": np.float32, "I64": np.int64}
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            values = np.frombuffer(data[start + begin : start + end], dtype=types[entry["dtype"]])
            tensors[name] = torch.from_numpy(values.reshape(entry["shape"]).copy())
    return tensors


class Block(nn.Module):
    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or before != channels:
            self.downsample = nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + shortcut)


class ResNet8(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16, 1))
        self.layer2 = nn.Sequential(Block(16, 32, 2))
        self.layer3 = nn.Sequential(Block(32, 64, 2))
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean(dim=(2, 3)))


def main(checkpoint, case_path):
    case = read_safetensors(case_path)
    network = ResNet8(case["logits"].shape[1])
    network.load_state_dict(read_safetensors(checkpoint))  # strict: every name and shape
    network.eval()
    with torch.no_grad():
        logits = network(case["images"].permute(0, 3, 1, 2).contiguous())
    error = ((logits - case["logits"]).norm() / logits.norm()).item()
    print(f"relative error {error:.2e}")
    assert error < 1e-4, error
    assert torch.equal(logits.argmax(1), case["logits"].argmax(1))


if __name__ == "__main__":
    main(*sys.argv[1:])
