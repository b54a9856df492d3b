"""A kernel that keeps a GPU busy for a while, and ways to run it: the driver alone (PTX or nvcc), cupy, torch.

Every way is an engine with the same few calls. Nothing here changes a setting of the card: an engine opens a context,
takes memory, and launches the kernel.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from ctypes import CDLL, POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_ulonglong, c_void_p, cast

# Runs until clock64 has advanced by param_cycles, then adds the turns of its loop to *param_turns (the first thread of
# the first block does). While another process has the GPU no turns are made, so they are the kernel's own time. The
# comparison is unsigned: a clock that goes back ends the loop.
SPIN_PTX = """
.version 6.0
.target sm_50
.address_size 64

.visible .entry spin(
    .param .u64 param_cycles,
    .param .u64 param_turns
)
{
    .reg .pred  %p<3>;
    .reg .b32   %r<4>;
    .reg .b64   %rd<11>;

    ld.param.u64        %rd1, [param_cycles];
    ld.param.u64        %rd2, [param_turns];
    cvta.to.global.u64  %rd3, %rd2;
    mov.u64             %rd4, %clock64;
    mov.u64             %rd5, 0;

SPIN:
    add.s64             %rd5, %rd5, 1;
    mov.u64             %rd6, %clock64;
    sub.s64             %rd7, %rd6, %rd4;
    setp.lt.u64         %p1, %rd7, %rd1;
    @%p1 bra            SPIN;

    mov.u32             %r1, %ctaid.x;
    mov.u32             %r2, %tid.x;
    or.b32              %r3, %r1, %r2;
    setp.ne.s32         %p2, %r3, 0;
    @%p2 bra            DONE;
    ld.global.u64       %rd8, [%rd3];
    add.s64             %rd9, %rd8, %rd5;
    st.global.u64       [%rd3], %rd9;

DONE:
    ret;
}
"""

# The same for nvcc and cupy.
SPIN_CUDA = """
extern "C" __global__ void spin(unsigned long long cycles, unsigned long long *turns)
{
    unsigned long long begin = clock64(), done = 0;
    do ++done; while ((unsigned long long)clock64() - begin < cycles);
    if (blockIdx.x == 0 && threadIdx.x == 0) *turns += done;
}
"""

FOLDERS = ("", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/local/nvidia/lib64",
           "/usr/lib/wsl/lib")
THREADS = 32


class Unusable(Exception):
    """This engine cannot be used here; the text says why."""


def load_library(name: str):
    """The driver's library, from where loaders and container runtimes put it."""
    problem = None
    for folder in FOLDERS:
        try:
            return CDLL(os.path.join(folder, name))
        except OSError as error:
            problem = problem or error
    raise Unusable(str(problem))


class Driver:
    """The CUDA driver and nothing else, with the kernel as PTX."""

    name = "driver"

    def __init__(self):
        self.lib = load_library("libcuda.so.1")
        self.check("cuInit", c_uint(0))
        device = c_int()
        self.check("cuDeviceGet", byref(device), c_int(0))
        self.device = device
        # CU_CTX_SCHED_BLOCKING_SYNC: waiting must not take a processor. Where it is refused we wait the other way.
        getattr(self.lib, "cuDevicePrimaryCtxSetFlags_v2", lambda *_: 0)(device, c_uint(4))
        context = c_void_p()
        self.check("cuDevicePrimaryCtxRetain", byref(context), device)
        self.check("cuCtxSetCurrent", context)
        module, self.function = c_void_p(), c_void_p()
        self.check("cuModuleLoadData", byref(module), self.image())
        self.check("cuModuleGetFunction", byref(self.function), module, c_char_p(b"spin"))
        # The turns lie in host memory that the kernel sees, so that they can be read while kernels run.
        # 2 is CU_MEMHOSTALLOC_DEVICEMAP.
        host, self.turns = c_void_p(), c_ulonglong()
        self.check("cuMemHostAlloc", byref(host), c_size_t(8), c_uint(2))
        self.counter = cast(host, POINTER(c_ulonglong))
        self.counter[0] = 0
        self.check("cuMemHostGetDevicePointer_v2", byref(self.turns), host, c_uint(0))

    def check(self, function: str, *arguments):
        call = getattr(self.lib, function, None)
        if call is None:
            raise Unusable(f"this driver has no {function}")
        result = call(*arguments)
        if result != 0:
            name = c_char_p()
            self.lib.cuGetErrorName(c_int(result), byref(name))
            raise Unusable(f"{function}: {(name.value or b'error').decode()} ({result})")

    def image(self):
        return c_char_p(SPIN_PTX.encode())

    def attribute(self, number: int) -> int:
        value = c_int()
        self.check("cuDeviceGetAttribute", byref(value), c_int(number), self.device)
        return value.value

    def multiprocessors(self) -> int:
        return self.attribute(16)

    def allocate(self, size: int):
        """Takes so many bytes until the process ends."""
        pointer = c_ulonglong()
        self.check("cuMemAlloc_v2", byref(pointer), c_size_t(size))

    def event(self):
        # CU_EVENT_BLOCKING_SYNC
        event = c_void_p()
        self.check("cuEventCreate", byref(event), c_uint(1))
        return event

    def launch(self, cycles: int, blocks: int):
        """Queues the kernel; `finish` waits for it."""
        cycles, turns = c_ulonglong(cycles), c_ulonglong(self.turns.value)
        arguments = (c_void_p * 2)(cast(byref(cycles), c_void_p), cast(byref(turns), c_void_p))
        begin, end = self.event(), self.event()
        shape = [c_uint(n) for n in (blocks, 1, 1, THREADS, 1, 1, 0)]
        self.check("cuEventRecord", begin, None)
        # Arguments are copied before the call returns.
        self.check("cuLaunchKernel", self.function, *shape, None, arguments, None)
        self.check("cuEventRecord", end, None)
        return begin, end

    def finish(self, launched) -> float:
        """Milliseconds from the kernel's begin to its end, by the card's own clock."""
        begin, end = launched
        elapsed = c_float()
        self.check("cuEventSynchronize", end)
        self.check("cuEventElapsedTime", byref(elapsed), begin, end)
        for event in launched:
            self.check("cuEventDestroy_v2", event)
        return elapsed.value

    def turns_done(self):
        """Turns of the kernel's loop so far; None where the engine does not count them."""
        return self.counter[0]


class Nvcc(Driver):
    """The driver, with the kernel compiled for this card by nvcc."""

    name = "nvcc"

    def image(self):
        compiler = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
        if compiler is None:
            raise Unusable("nvcc is not there")
        major, minor = self.attribute(75), self.attribute(76)
        with tempfile.TemporaryDirectory() as folder:
            source, binary = os.path.join(folder, "spin.cu"), os.path.join(folder, "spin.cubin")
            with open(source, "w", encoding="ascii") as file:
                file.write(SPIN_CUDA)
            command = [compiler, "-cubin", f"-arch=sm_{major}{minor}", "-o", binary, source]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            if done.returncode != 0:
                raise Unusable(f"nvcc: {done.stdout.decode(errors='replace')[-300:]}")
            with open(binary, "rb") as file:
                self.binary = file.read()
        return c_char_p(self.binary)


class Cupy:
    """cupy, its allocator and its compiler."""

    name = "cupy"

    def __init__(self):
        try:
            import cupy
        except Exception as error:  # an import can fail in any way
            raise Unusable(f"cupy: {error}") from error
        try:
            self.cupy, self.held = cupy, []
            self.counter = cupy.zeros(1, dtype=cupy.uint64)
            self.kernel = cupy.RawKernel(SPIN_CUDA, "spin")
            self.kernel.compile()
            cupy.cuda.Device().synchronize()
        except Exception as error:
            raise Unusable(f"cupy: {error}") from error

    def multiprocessors(self) -> int:
        return self.cupy.cuda.Device().attributes["MultiProcessorCount"]

    def allocate(self, size: int):
        self.held.append(self.cupy.cuda.alloc(size))

    def launch(self, cycles: int, blocks: int):
        begin, end = self.cupy.cuda.Event(block=True), self.cupy.cuda.Event(block=True)
        begin.record()
        self.kernel((blocks,), (THREADS,), (self.cupy.uint64(cycles), self.counter))
        end.record()
        return begin, end

    def finish(self, launched) -> float:
        launched[1].synchronize()
        return self.cupy.cuda.get_elapsed_time(*launched)

    def turns_done(self):
        return None


class Torch:
    """torch, its allocator and its own sleeping kernel (one thread)."""

    name = "torch"

    def __init__(self):
        try:
            import torch
        except Exception as error:  # an import can fail in any way
            raise Unusable(f"torch: {error}") from error
        if not torch.cuda.is_available():
            raise Unusable("torch has no CUDA device")
        self.torch, self.held = torch, []
        torch.cuda.init()

    def multiprocessors(self) -> int:
        return self.torch.cuda.get_device_properties(0).multi_processor_count

    def allocate(self, size: int):
        self.held.append(self.torch.empty(size, dtype=self.torch.uint8, device="cuda"))

    def launch(self, cycles: int, blocks: int):
        del blocks
        make = lambda: self.torch.cuda.Event(enable_timing=True, blocking=True)
        begin, end = make(), make()
        begin.record()
        self.torch.cuda._sleep(int(cycles))
        end.record()
        return begin, end

    def finish(self, launched) -> float:
        launched[1].synchronize()
        return launched[0].elapsed_time(launched[1])

    def turns_done(self):
        return None


ENGINES = {engine.name: engine for engine in (Driver, Nvcc, Cupy, Torch)}
# `auto`: the one that needs least comes first. It starts in a moment, holds what it says, and counts turns.
ORDER = ("driver", "nvcc", "cupy", "torch")


def open_engine(name: str):
    """The engine of this name, or for `auto` the first that works."""
    problems = []
    for each in ORDER if name == "auto" else (name,):
        try:
            return ENGINES[each]()
        except Unusable as problem:
            problems.append(f"{each}: {problem}")
    raise Unusable("; ".join(problems))
