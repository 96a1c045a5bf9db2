"""A training step and the loss alone on a CPU, in the ways that cpu_variants.py lists.

    step = TrainingStep(Variant(layout="channels_last"), "resnet20", batch=64)
    loss = step()

Student in training mode, teacher in evaluation mode without gradients, SGD with momentum and weight decay; random images.
"""
import contextlib

import torch
from torch import nn

from peers.losses import Stacked, released
from peers.networks import PAIRS, X4_WIDTHS, folded, make_network

CLASSES = 100
NETWORKS = {  # task: (depth, widths) of the teacher, of the student
    "resnet20": (None, (20, (16, 16, 32, 64))),
    "resnet8x4": (None, (8, X4_WIDTHS)),
    "mlkd": PAIRS["resnet32x4_resnet8x4"],
    "tiny": PAIRS["tiny"],
}


def without_dead_levels(student, teacher, target):
    """The released way of writing, spared the two levels of the strong view that it computes and throws away."""
    return released(student, teacher, target, as_released=False)


def maybe_compiled(function, variant):
    if not variant.compile_mode:
        return function
    if not hasattr(torch, "compile"):
        raise RuntimeError("this PyTorch has no torch.compile")
    return torch.compile(function, mode=variant.compile_mode, fullgraph=True, dynamic=False)


def loss_function(variant):
    return maybe_compiled(Stacked() if variant.rewritten else without_dead_levels, variant)


def make_optimizer(parameters):
    settings = {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
    try:
        return torch.optim.SGD(parameters, **settings, fused=True)
    except (TypeError, RuntimeError):  # a PyTorch older than 2.4 has no fused SGD on a CPU
        return torch.optim.SGD(parameters, **settings)


class Masters:
    """Makes a network compute with bf16 filters and linear weights; the optimizer updates their float32 masters. Batch norm stays
    float32. Autocast rounds at the same places, but casts the filters again in each step's forward pass."""

    def __init__(self, network):
        layers = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        self.of = {}
        for parameter in (parameter for layer in layers for parameter in layer.parameters()):
            self.of[parameter] = parameter.detach().clone().requires_grad_()
            parameter.data = parameter.data.bfloat16()
        self.others = [parameter for parameter in network.parameters() if parameter not in self.of]

    def parameters(self):
        return [*self.of.values(), *self.others]

    def take_gradients(self):
        for parameter, master in self.of.items():
            master.grad, parameter.grad = parameter.grad.float(), None

    @torch.no_grad()
    def write_back(self):
        for parameter, master in self.of.items():
            parameter.copy_(master)


class TrainingStep:
    def __init__(self, variant, task, batch):
        torch.manual_seed(1)
        teacher, student = NETWORKS[task]
        self.variant = variant
        self.layout = torch.channels_last if variant.layout == "channels_last" else torch.contiguous_format
        self.network = make_network(*student, CLASSES).to(memory_format=self.layout).train()
        self.teacher = self.make_teacher(teacher) if teacher else None
        self.images = (torch.rand(batch * (2 if teacher else 1), 3, 32, 32) * 4 - 2).to(memory_format=self.layout)  # weak, then strong
        self.target = torch.randint(CLASSES, (batch,))
        self.masters = None
        if variant.bf16 == "cast":
            self.images = self.images.bfloat16()
            self.masters = Masters(self.network)
        self.optimizer = make_optimizer((self.masters or self.network).parameters())
        self.student = maybe_compiled(self.network, variant)
        self.loss = loss_function(variant) if teacher else None

    def make_teacher(self, shape):
        teacher = make_network(*shape, CLASSES).to(memory_format=self.layout).eval()
        if self.variant.rewritten:
            teacher = folded(teacher)
        if self.variant.bf16 == "cast":
            Masters(teacher)
        return maybe_compiled(teacher, self.variant)

    def views(self):
        return self.images.chunk(2) if self.teacher else [self.images]

    @torch.no_grad()
    def teacher_logits(self):
        if self.variant.rewritten:
            return self.teacher(self.images).float().chunk(2)
        return [self.teacher(view).float() for view in self.views()]

    def __call__(self):
        with torch.autocast("cpu", torch.bfloat16) if self.variant.bf16 == "autocast" else contextlib.nullcontext():
            logits = [self.student(view).float() for view in self.views()]
            taught = self.teacher_logits() if self.teacher else None
        loss = self.loss(logits, taught, self.target) if self.teacher else nn.functional.cross_entropy(logits[0], self.target)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.masters:
            self.masters.take_gradients()
        self.optimizer.step()
        if self.masters:
            self.masters.write_back()
        return loss.detach()

    def state(self):
        """Copies of the student's parameters, the masters where there are some, and running statistics."""
        masters = self.masters.of if self.masters else {}
        values = {name: masters.get(parameter, parameter) for name, parameter in self.network.named_parameters()}
        values.update((name, buffer) for name, buffer in self.network.named_buffers() if "num_batches" not in name)
        return {name: value.detach().clone() for name, value in values.items()}


class LossAlone:
    """Forward and backward of the loss, from logits to their gradient, both views."""

    def __init__(self, variant, batch, classes):
        torch.manual_seed(1)
        self.student = [(torch.rand(batch, classes) * 8 - 4).requires_grad_() for _ in range(2)]
        self.teacher = [torch.rand(batch, classes) * 16 - 8 for _ in range(2)]
        self.target = torch.randint(classes, (batch,))
        self.loss = loss_function(variant)

    def __call__(self):
        for view in self.student:
            view.grad = None
        loss = self.loss(self.student, self.teacher, self.target)
        loss.backward()
        return loss.detach()
