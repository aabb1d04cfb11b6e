"""How a step runs: as it is written, or compiled and recorded; what is faster is held to what is plain as it begins."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from galvae.keyed import stream
from galvae.progress import say
from galvae.training.objective import PLAIN, Parts

# Takes tensors of one shape and kind each time, and says by words which of its variants it is; leaves gradients.
Step = Callable[..., tuple[Tensor, ...]]

# Steps of a training that is worth a minute of compiling; a shorter one on a GPU is recorded as it is.
LONG = 10_000

# Runs of a variant before it is recorded, in which kernels are compiled and chosen and libraries take their memory.
WARM = 2


def compiled() -> Parts:
    """The step's parts compiled; each is one graph, or an error when it is first called."""
    torch.compiler.assume_constant_result(stream)  # here: it imports the compiler, which takes seconds
    # Of one function here there are as many kinds as models, shapes and variants of the step in a process.
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    return Parts(*(torch.compile(part, dynamic=False, fullgraph=True, backend=BACKEND) for part in PLAIN))


BACKEND = "inductor"


class _Result(NamedTuple):
    outputs: tuple[Tensor, ...]
    gradients: list[Tensor | None]
    state: list[Tensor]

    @classmethod
    def of(cls, outputs: tuple[Tensor, ...], parameters: Sequence[nn.Parameter], state: Iterable[Tensor]) -> _Result:
        # Copied: the next run may write where these lie.
        gradients = [None if p.grad is None else p.grad.clone() for p in parameters]
        return cls(tuple(_copies(outputs)), gradients, _copies(state))

    def apart(self, other: _Result) -> float:
        """How far another result is from this one, as a share of it: the largest for outputs, gradients and state."""
        if [g is None for g in self.gradients] != [g is None for g in other.gradients]:
            return float("inf")
        kinds = zip(self, other, strict=True)
        return max(_apart([t for t in a if t is not None], [t for t in b if t is not None]) for a, b in kinds)


def _copies(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]  # of parameters without what leads gradients to them


def _apart(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    if not a:
        return 0.0
    apart = sum((one.detach().double() - other.detach()).square().sum() for one, other in zip(a, b, strict=True))
    found = float((apart / sum(one.detach().double().square().sum() for one in a).clamp(min=1e-60)).sqrt())
    return found if found == found else float("inf")  # not a number is far from all


class Held:
    """A fast way to take a step, held to a slow one: the first step of each variant is taken both ways.

    Where the fast one fails, or comes to something else, it is said in one line, the slow one's result stands, and all
    steps go its way.

    Parameters
    ----------
    fast, slow
        The two ways.
    parameters
        Whose gradients they leave.
    tolerance
        How far apart gradients may be, as a share.
    what
        The fast way's name, for the line.
    """

    def __init__(
        self, fast: Step, slow: Step, parameters: Iterable[nn.Parameter], *, tolerance: float, what: str
    ) -> None:
        self.fast, self.slow, self.parameters = fast, slow, list(parameters)
        self.tolerance, self.what = tolerance, what
        self.given_up = False
        self._known: set[Any] = set()

    def __call__(self, *tensors: Tensor, **variant: Any) -> tuple[Tensor, ...]:
        """Take a step."""
        if self.given_up:
            return self.slow(*tensors, **variant)
        key = tuple(variant.items())
        if key in self._known:
            return self.fast(*tensors, **variant)
        self._known.add(key)
        wanted = _Result.of(self.slow(*tensors, **variant), self.parameters, ())
        try:
            with warnings.catch_warnings(action="ignore"):  # torch's to itself, as it compiles
                outputs = self.fast(*tensors, **variant)
            apart = wanted.apart(_Result.of(outputs, self.parameters, ()))
            reason = "" if apart <= self.tolerance else f"its first step is {apart:.1g} from the plain one"
        except Exception as error:  # a compiler has exceptions of all kinds
            reason = _in_short(error)
        if not reason:
            return outputs
        self.given_up = True
        say(f"warning: {self.what} does not work here ({reason}); training goes on without")
        for parameter, gradient in zip(self.parameters, wanted.gradients, strict=True):
            parameter.grad = gradient
        return wanted.outputs


class Recorder(Protocol):
    """What records a function's kernels: CUDA graphs, or what a test puts in their place."""

    def aside(self, function: Callable[[], Any]) -> Any:
        """Run it where it will be recorded."""
        ...

    def record(self, function: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """Record it without its effects; what replays it, and the tensors that each replay writes anew."""
        ...


class CudaGraphs:
    """Records CUDA graphs; all share their memory, as one replays at a time."""

    def __init__(self, device: torch.device) -> None:
        self.stream, self.pool = torch.cuda.Stream(device), None

    def aside(self, function: Callable[[], Any]) -> Any:
        """See :class:`Recorder`."""
        now = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(now)
        with torch.cuda.stream(self.stream):
            found = function()
        now.wait_stream(self.stream)
        return found

    def record(self, function: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """See :class:`Recorder`."""
        graph = torch.cuda.CUDAGraph()
        # Of this thread alone: another may be reading fields into pinned memory meanwhile.
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
            found = function()
        self.pool = self.pool or graph.pool()
        return graph.replay, found


class Recorded:
    """A step of which each variant's kernels are recorded once and then replayed, without Python between them.

    The first runs are real steps; the first replay after the recording's own step is compared with a run of the same
    step, and if it comes to something else, or recording fails, that is said and steps go on unrecorded.

    Parameters
    ----------
    step
        What a step is, a function of its tensors and of what they and `state` hold; not of anything else that changes.
    parameters
        Whose gradients it leaves.
    state
        The tensors that it changes in place, from its second run on always the same.
    recorder
        What records.
    """

    def __init__(
        self, step: Step, parameters: Iterable[nn.Parameter], state: Callable[[], Sequence[Tensor]], *,
        recorder: Recorder,
    ) -> None:  # fmt: skip
        self.step, self.parameters, self.state, self.recorder = step, list(parameters), state, recorder
        self.given_up = False
        self._runs: Counter[Any] = Counter()
        self._buffers: list[Tensor] = []
        self._replays: dict[Any, tuple[Callable[[], None], tuple[Tensor, ...], list[Tensor | None]]] = {}

    def __call__(self, *tensors: Tensor, **variant: Any) -> tuple[Tensor, ...]:
        """Take a step."""
        if self.given_up:
            return self.step(*tensors, **variant)
        if not self._buffers:
            self._buffers = [tensor.clone() for tensor in tensors]
        for buffer, tensor in zip(self._buffers, tensors, strict=True):
            buffer.copy_(tensor, non_blocking=True)
        key, run = tuple(variant.items()), lambda: self.step(*self._buffers, **variant)
        self._runs[key] += 1
        if self._runs[key] <= WARM:
            return self.recorder.aside(run)
        if self._runs[key] == WARM + 1:
            try:
                self._record(key, run)
            except Exception as error:  # of the driver, the allocator, or an operation that cannot be recorded
                self._give_up(_in_short(error))
                return run()
            return self._replay(key)
        return self._compared(key, run) if self._runs[key] == WARM + 2 else self._replay(key)

    def _record(self, key: Any, run: Callable[[], tuple[Tensor, ...]]) -> None:
        for parameter in self.parameters:
            parameter.grad = None  # the recording makes its own
        replay, outputs = self.recorder.record(run)
        self._replays[key] = replay, outputs, [parameter.grad for parameter in self.parameters]

    def _replay(self, key: Any) -> tuple[Tensor, ...]:
        replay, outputs, gradients = self._replays[key]
        replay()
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        return tuple(output.clone() for output in outputs)  # the next replay writes where these lie

    def _compared(self, key: Any, run: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        before = _copies(self.state())
        try:
            wanted = _Result.of(self.recorder.aside(run), self.parameters, self.state())
        except torch.OutOfMemoryError as error:  # what is recorded holds a step's memory: not room for two
            self._give_up(_in_short(error))
            return self.recorder.aside(run)
        self._put(before)
        outputs = self._replay(key)
        found = _Result.of(outputs, self.parameters, self.state())
        # Where a gradient is nearly zero Adam turns rounding into a whole step: of parameters their change counts.
        moved = _apart(wanted.state, before)
        apart, far = wanted.apart(found._replace(state=wanted.state)), _apart(wanted.state, found.state)
        if apart <= 0.02 and far <= 0.1 * moved:  # libraries may add in another order; other data are farther
            return outputs
        self._give_up(f"a replayed step is {max(apart, far):.1g} from the same step run")
        self._put(wanted.state)
        for parameter, gradient in zip(self.parameters, wanted.gradients, strict=True):
            parameter.grad = gradient
        return wanted.outputs

    def _put(self, values: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for tensor, value in zip(self.state(), values, strict=True):
                tensor.copy_(value)

    def _give_up(self, reason: str) -> None:
        self.given_up = True
        self._replays.clear()
        for parameter in self.parameters:
            parameter.grad = None
        say(f"warning: steps cannot be recorded as CUDA graphs here ({reason}); training goes on without")


def _in_short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
