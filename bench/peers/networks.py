"""The CIFAR ResNets of the recipes in PyTorch."""
import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

X4_WIDTHS = (32, 64, 128, 256)
PAIRS = {  # name: (depth, widths) of the teacher, of the student
    "resnet32x4_resnet8x4": ((32, X4_WIDTHS), (8, X4_WIDTHS)),
    "tiny": ((8, (8, 8, 16, 32)), (8, (4, 4, 8, 16))),  # for tests
}


class Block(nn.Module):
    """A basic block, with a 1x1 convolution as shortcut where the shape changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def make_network(depth, widths, classes=100):
    """The ResNets of mdistiller for 32x32 images."""
    layers = [nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
    inputs = widths[0]
    for stage, outputs in enumerate(widths[1:]):
        for i in range((depth - 2) // 6):
            layers.append(Block(inputs, outputs, 2 if stage > 0 and i == 0 else 1))
            inputs = outputs
    return nn.Sequential(*layers, nn.AvgPool2d(8), nn.Flatten(), nn.Linear(inputs, classes))


def folded(network):
    """A copy for evaluation alone: every batch norm folded into the convolution before it."""
    network = copy.deepcopy(network).eval()
    for sequence in (module for module in network.modules() if isinstance(module, nn.Sequential)):
        if len(sequence) > 1 and isinstance(sequence[1], nn.BatchNorm2d):
            sequence[0], sequence[1] = fuse_conv_bn_eval(sequence[0], sequence[1]), nn.Identity()
    for block in (module for module in network.modules() if isinstance(module, Block)):
        block.conv1, block.bn1 = fuse_conv_bn_eval(block.conv1, block.bn1), nn.Identity()
        block.conv2, block.bn2 = fuse_conv_bn_eval(block.conv2, block.bn2), nn.Identity()
    return network.requires_grad_(False)


class TwoViewBatchNorm(nn.Module):
    """Batch norm in training of the weak and the strong view in one batch (first half, second half), each with statistics of
    its own; the running ones are updated by the weak view's, then by the strong one's, as two forward passes would."""

    def __init__(self, norm):
        super().__init__()
        self.weight, self.bias, self.eps, self.momentum = norm.weight, norm.bias, norm.eps, norm.momentum
        self.register_buffer("running_mean", norm.running_mean)
        self.register_buffer("running_var", norm.running_var)

    def forward(self, x):
        views = x.unflatten(0, (2, x.shape[0] // 2)).to(torch.promote_types(x.dtype, torch.float32))  # 2 x B x C x H x W
        variance, mean = torch.var_mean(views, dim=(1, 3, 4), unbiased=False, keepdim=True)
        count = views.numel() / (2 * views.shape[2])
        with torch.no_grad():
            for view in range(2):
                self.running_mean.lerp_(mean[view].flatten(), self.momentum)
                self.running_var.lerp_(variance[view].flatten() * (count / (count - 1)), self.momentum)
        scale = torch.rsqrt(variance + self.eps) * self.weight.view(1, 1, -1, 1, 1)
        y = (views - mean) * scale + self.bias.view(1, 1, -1, 1, 1)
        return y.to(x.dtype).flatten(0, 1)


def with_joined_views(network):
    """Makes every batch norm of a network take both views in one batch; returns the network."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, TwoViewBatchNorm(child))
    return network
