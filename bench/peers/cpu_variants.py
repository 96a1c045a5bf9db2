"""The ways in which PyTorch runs a task on a CPU, for compare_pytorch.py. Needs no torch.

    for variant in eager_variants("mlkd", "bf16"): ...

Tried and left out, as none was quicker: the student's two views as one batch, inductor's frozen teacher, and max-autotune for steps.
"""
import dataclasses

LAYOUTS = ("contiguous", "channels_last")
OPENBLAS = {"OpenBLAS default": {}, "OpenBLAS SkylakeX": {"OPENBLAS_CORETYPE": "SkylakeX"}}  # name: environment


@dataclasses.dataclass(frozen=True)
class Variant:
    rewritten: bool = False  # the stacked loss; in MLKD's step the teacher folded, too, and both views one batch of it
    compile_mode: str = ""  # of torch.compile; empty: eager
    layout: str = "contiguous"  # of activations and filters
    bf16: str = ""  # "autocast"; "cast": bf16 copies of the filters beside float32 masters; empty: float32
    blas: str = ""  # a key of OPENBLAS; empty: whatever PyTorch has

    def __str__(self):
        words = ["rewritten" if self.rewritten else "", f"compiled ({self.compile_mode})" if self.compile_mode else "eager",
                 self.layout, self.bf16, self.blas]
        return ", ".join(word for word in words if word)

    def is_released(self):
        """The way of writing that the released code has, uncompiled."""
        return not self.rewritten and not self.compile_mode


def eager_variants(task, precision, blas=""):
    """blas: the name of PyTorch's BLAS."""
    if task.startswith("loss-"):
        kernels = OPENBLAS if blas.startswith("OpenBLAS") else ("",)
        return [Variant(rewritten=rewritten, blas=kernel) for rewritten in (False, True) for kernel in kernels]
    ways = ("autocast", "cast") if precision == "bf16" else ("",)
    writings = (False, True) if task == "mlkd" else (False,)
    return [Variant(rewritten=rewritten, layout=layout, bf16=way) for rewritten in writings for layout in LAYOUTS for way in ways]


def compiled_variants(task, quickest_eager):
    """With the bf16 way and the BLAS kernels that were the quickest uncompiled, to save compilations."""
    if task.startswith("loss-"):
        modes, layouts = ("default", "max-autotune-no-cudagraphs"), ("contiguous",)
    else:
        modes, layouts = ("default",), LAYOUTS
    rewritten = task == "mlkd" or task.startswith("loss-")
    return [dataclasses.replace(quickest_eager, rewritten=rewritten, layout=layout, compile_mode=mode)
            for mode in modes for layout in layouts]
