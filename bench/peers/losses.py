"""What the released MLKD code computes (mlkd_official), from its definition, in two ways of writing it.

student and teacher are (weak, strong) logits, each B x C. The masks are scalars: the share of the images whose confidence is
not above the median, and the share of the classes whose summed probability is not.
"""
import numpy
import torch
from torch import nn
from torch.nn import functional

TEMPERATURES = (4.0, 3.0, 5.0, 2.0, 6.0)  # the first three are the strong view's
CE_WEIGHT, KD_WEIGHT = 0.1, 0.9


def standardized(logits):
    return (logits - logits.mean(dim=1, keepdim=True)) / (1e-7 + logits.std(dim=1, keepdim=True))


def share_not_above_median(values, on_host):
    """A tensor of one element, or of as many as there are values when the median is taken on the host: there the mask itself
    is what the terms are multiplied by, before their mean."""
    if on_host:
        return values <= float(numpy.percentile(values.cpu().numpy(), 50))
    ordered = values.sort().values
    low, high = ordered[(len(values) - 1) // 2], ordered[len(values) // 2]
    return (values <= high - (high - low) * 0.5).to(values.dtype).mean()


def released(student, teacher, target, temperatures=TEMPERATURES, ce_weight=CE_WEIGHT, kd_weight=KD_WEIGHT, standardize=False,
             as_released=True):
    """A term after the other, as one writes it from the formulas. as_released: the medians are taken on the host, which waits
    for the GPU twice, and both correlation levels of the strong view are computed too, which no sum contains."""
    with torch.no_grad():
        p = functional.softmax(teacher[0], dim=1)
        image_mask = share_not_above_median(p.max(dim=1).values, as_released)
        class_mask = share_not_above_median(p.sum(dim=0), as_released)

    def instance(view, t):
        s, taught = student[view], teacher[view]
        if standardize:
            s, taught = standardized(s), standardized(taught)
        log_s = functional.log_softmax(s / t, dim=1)
        return functional.kl_div(log_s, functional.softmax(taught / t, dim=1), reduction="batchmean") * t * t

    def batch_level(view, t):
        a, b = functional.softmax(student[view] / t, dim=1), functional.softmax(teacher[view] / t, dim=1)
        return ((b @ b.t() - a @ a.t()) ** 2).sum() / a.shape[0]

    def class_level(view, t):
        a, b = functional.softmax(student[view] / t, dim=1), functional.softmax(teacher[view] / t, dim=1)
        return ((b.t() @ b - a.t() @ a) ** 2).sum() / a.shape[1]

    levels = sum(instance(1, t) for t in temperatures[:3]) + sum(instance(0, t) for t in temperatures[3:])
    for t in temperatures:
        levels = levels + (instance(0, t) * image_mask).mean()
        levels = levels + (batch_level(0, t) * image_mask).mean() + (class_level(0, t) * class_mask).mean()
        if as_released:
            batch_level(1, t), class_level(1, t)
    ce = functional.cross_entropy(student[0], target) + functional.cross_entropy(student[1], target)
    return ce_weight * ce + kd_weight * levels


class Stacked(nn.Module):
    """The same value for speed: all temperatures in one operation each, nothing on the host, nothing that no sum contains."""

    def __init__(self, temperatures=TEMPERATURES, ce_weight=CE_WEIGHT, kd_weight=KD_WEIGHT, standardize=False):
        super().__init__()
        t = torch.tensor(temperatures).view(-1, 1, 1)
        self.register_buffer("one_over_t", 1 / t)
        self.register_buffer("t_squared", t * t)
        self.register_buffer("again", torch.tensor([0.0, 0.0, 0.0] + [1.0] * (len(temperatures) - 3)).view(-1, 1, 1))
        self.ce_weight, self.kd_weight, self.standardize = ce_weight, kd_weight, standardize

    def divergence(self, student, teacher, weights):
        if self.standardize:
            student, teacher = standardized(student), standardized(teacher)
        one_over_t = self.one_over_t[: len(weights)]
        log_a, log_b = functional.log_softmax(student * one_over_t, dim=2), functional.log_softmax(teacher * one_over_t, dim=2)
        return (weights * log_b.exp() * (log_b - log_a)).sum() / student.shape[0]

    def forward(self, student, teacher, target):
        batch, classes = student[0].shape
        with torch.no_grad():
            p = functional.softmax(teacher[0], dim=1)
            image_share = share_not_above_median(p.max(dim=1).values, False)
            class_share = share_not_above_median(p.sum(dim=0), False)
        a, b = functional.softmax(student[0] * self.one_over_t, dim=2), functional.softmax(teacher[0] * self.one_over_t, dim=2)
        at, bt = a.transpose(1, 2), b.transpose(1, 2)
        batch_level = torch.baddbmm(torch.bmm(b, bt), a, at, alpha=-1).square().sum() / batch
        class_level = torch.baddbmm(torch.bmm(bt, b), at, a, alpha=-1).square().sum() / classes
        levels = self.divergence(student[0], teacher[0], self.t_squared * (image_share + self.again))
        levels = levels + self.divergence(student[1], teacher[1], self.t_squared[:3])
        levels = levels + image_share * batch_level + class_share * class_level
        ce = functional.cross_entropy(student[0], target) + functional.cross_entropy(student[1], target)
        return self.ce_weight * ce + self.kd_weight * levels
