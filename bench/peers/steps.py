"""A training step and the loss alone, in the ways of writing that pytorch_mlkd.py measures.

Each of them is made ready by its constructor and has run(), one step on inputs that stay where they are, and loss(), which
reads the last one.
"""
import dataclasses

import torch

from peers.losses import Stacked, released
from peers.networks import PAIRS, folded, make_network, with_joined_views

CLASSES = 100


@dataclasses.dataclass(frozen=True)
class Setting:
    about: str
    precision: str = "tf32"  # of convolutions; "bf16": autocast
    channels_last: bool = True
    captured: bool = False  # the whole step as one CUDA graph
    compile_mode: str = ""  # of torch.compile; empty: not compiled
    joined: bool = True  # where captured: the student takes both views as one batch


SETTINGS = {
    "eager": Setting("as released: float32 (PyTorch's default, TF32 convolutions), NCHW, two forward passes of each network, medians and "
                     "readings on the host", channels_last=False),
    "amp": Setting("the same with autocast to bf16 and channels_last", precision="bf16"),
    "graph-bf16": Setting("one CUDA graph, bf16, not compiled", precision="bf16", captured=True, joined=False),
    "compiled-bf16": Setting("torch.compile and one CUDA graph, bf16, both views as one batch", precision="bf16", captured=True,
                             compile_mode="default"),
    "compiled-separate-bf16": Setting("torch.compile and one CUDA graph, bf16, a forward pass of the student for each view",
                                      precision="bf16", captured=True, compile_mode="default", joined=False),
    "autotuned-bf16": Setting("torch.compile with max-autotune and one CUDA graph, bf16, both views as one batch", precision="bf16",
                              captured=True, compile_mode="max-autotune-no-cudagraphs"),
    "graph-tf32": Setting("one CUDA graph, TF32, not compiled", captured=True, joined=False),
    "compiled-tf32": Setting("torch.compile and one CUDA graph, TF32, both views as one batch", captured=True, compile_mode="default"),
}


class Inputs:
    """A batch that stays on the device: two views, N x 3 x 32 x 32, and targets."""

    def __init__(self, device, batch, channels_last, data=None):
        generator = torch.Generator().manual_seed(1)
        if data is None:
            weak = torch.rand(batch, 3, 32, 32, generator=generator) * 4 - 2
            strong = torch.rand(batch, 3, 32, 32, generator=generator) * 4 - 2
            target = torch.randint(CLASSES, (batch,), generator=generator)
        else:
            weak, target = data
            strong = weak.flip(3)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.views = [view.to(device).contiguous(memory_format=layout) for view in (weak, strong)]
        self.target = target.to(device)


def make_optimizer(parameters, on_gpu):
    settings = {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
    if on_gpu:
        try:
            return torch.optim.SGD(parameters, **settings, fused=True)
        except TypeError:  # an older PyTorch
            pass
    return torch.optim.SGD(parameters, **settings)


def make_pair(pair):
    """The same random weights every time."""
    torch.manual_seed(1)
    teacher, student = PAIRS[pair]
    return make_network(*teacher, CLASSES), make_network(*student, CLASSES)


class EagerStep:
    """The loop as released: reads the loss and both accuracies in every step."""

    def __init__(self, setting, device, pair, inputs):
        teacher, student = make_pair(pair)
        layout = torch.channels_last if setting.channels_last else torch.contiguous_format
        self.teacher = teacher.to(device, memory_format=layout).eval()
        self.student = student.to(device, memory_format=layout).train()
        self.optimizer = torch.optim.SGD(self.student.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        self.device, self.inputs, self.notes = device, inputs, []
        self.bf16 = setting.precision == "bf16"
        self.last, self.top1, self.top5 = 0.0, 0.0, 0.0

    def run(self):
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.bf16):
            student = [self.student(view).float() for view in self.inputs.views]
            with torch.no_grad():
                teacher = [self.teacher(view).float() for view in self.inputs.views]
        loss = released(student, teacher, self.inputs.target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.last = float(loss.detach().cpu())
        with torch.no_grad():
            hits = student[0].topk(5, dim=1).indices.eq(self.inputs.target.view(-1, 1))
            self.top1, self.top5 = (100 * float(hits[:, :k].float().sum()) / len(hits) for k in (1, 5))

    def loss(self):
        return self.last


class CapturedStep:
    """As fast as we know: the teacher folded and both views one batch, one operation for all temperatures, metrics added up
    on the device, nothing read, the whole step compiled and captured."""

    def __init__(self, setting, device, pair, inputs):
        on_gpu = device == "cuda"
        teacher, student = make_pair(pair)
        self.bf16 = setting.precision == "bf16"
        self.teacher = folded(teacher).to(device, torch.bfloat16 if self.bf16 else torch.float32, memory_format=torch.channels_last)
        student = (with_joined_views(student) if setting.joined else student).train()
        self.student = student.to(device, memory_format=torch.channels_last)
        self.device, self.joined, self.target = device, setting.joined, inputs.target
        self.images = torch.cat(inputs.views).contiguous(memory_format=torch.channels_last)  # weak, then strong
        self.criterion = Stacked().to(device)
        self.optimizer = make_optimizer(self.student.parameters(), on_gpu)
        self.sums = torch.zeros(3, device=device)  # of the loss, of top-1 hits, of images
        self.last = torch.zeros((), device=device)
        forward, self.notes = compiled(self.forward, setting.compile_mode, on_gpu)
        self.replay = captured(lambda: self.step(forward), self.optimizer.zero_grad, on_gpu, self.notes)

    def forward(self, images, target):
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.bf16, cache_enabled=False):
            if self.joined:
                student = self.student(images).float().chunk(2)
            else:
                student = [self.student(view).float() for view in images.chunk(2)]
        with torch.no_grad():
            teacher = self.teacher(images.to(torch.bfloat16) if self.bf16 else images).float().chunk(2)
        hits = student[0].detach().argmax(dim=1).eq(target).sum()
        return self.criterion(student, teacher, target), hits

    def step(self, forward):
        loss, hits = forward(self.images, self.target)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            self.last.copy_(loss)
            self.sums += torch.stack((loss, hits.float(), torch.full_like(loss, len(self.target))))

    def run(self):
        self.replay()

    def loss(self):
        return float(self.last)


class LossAlone:
    """Forward and backward of the loss, from logits to their gradient, both views."""

    def __init__(self, setting, device, batch, classes):
        generator = torch.Generator().manual_seed(1)
        self.student = [(torch.rand(batch, classes, generator=generator) * 8 - 4).to(device).requires_grad_() for _ in range(2)]
        self.teacher = [(torch.rand(batch, classes, generator=generator) * 16 - 8).to(device) for _ in range(2)]
        self.target = torch.randint(classes, (batch,), generator=generator).to(device)
        self.last = torch.zeros((), device=device)
        self.notes = []
        if setting.captured:
            forward, self.notes = compiled(Stacked().to(device), setting.compile_mode, device == "cuda")
            self.run = captured(lambda: self.step(forward), self.forget_gradients, device == "cuda", self.notes)
        else:
            self.run = self.eager

    def forget_gradients(self):
        for view in self.student:
            view.grad = None

    def eager(self):
        self.forget_gradients()
        self.step(released)

    def step(self, function):
        loss = function(self.student, self.teacher, self.target)
        loss.backward()
        with torch.no_grad():
            self.last.copy_(loss)

    def loss(self):
        return float(self.last)


def compiled(function, mode, on_gpu):
    """The function compiled, or as it is with a note why."""
    if not mode:
        return function, []
    if not on_gpu or not hasattr(torch, "compile"):
        return function, [f"not compiled: {'this PyTorch has no torch.compile' if on_gpu else 'no GPU'}"]
    return torch.compile(function, mode=mode, fullgraph=True, dynamic=False), []


def captured(step, forget_gradients, on_gpu, notes):
    """A function that replays the step from a CUDA graph; without a GPU the step itself. Every call starts without gradients:
    the graph's own memory holds them."""

    def fresh_step():
        forget_gradients()
        step()

    if not on_gpu:
        notes.append("not captured: no GPU")
        return fresh_step
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(5):  # plans, compilation, momenta
            fresh_step()
    torch.cuda.current_stream().wait_stream(stream)
    forget_gradients()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
