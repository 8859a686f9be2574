"""Times the peers of `cargo bench --bench pipeline`: CPU milliseconds, median of 5.

pip install sf-hamilton dagster
"""
import logging
import statistics
import time

logging.disable(logging.CRITICAL)

import dagster
from hamilton import ad_hoc_utils, driver


def cpu_ms(name, run, repeats=5):
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append((time.process_time() - start) * 1e3)
    print(f"{name}: {statistics.median(times):.2f} ms")


def module(name, steps):
    """One function a step: `steps` maps a name to the name of the step before."""
    scope = {}
    for step, before in steps.items():
        exec(f"def {step}({before}: int) -> int:\n    return {before} + 1", scope)
    return ad_hoc_utils.create_temporary_module(*(scope[step] for step in steps), module_name=name)


chain = module("chain", {f"step_{n}": f"step_{n - 1}" if n else "start" for n in range(100)})
lanes = module("lanes", {
    f"step_{lane}_{n}": f"step_{lane}_{n - 1}" if n else "start" for lane in range(10) for n in range(10)
})
for name, steps, ends in [
    ("chain of 100", chain, ["step_99"]),
    ("fan out 10x10", lanes, [f"step_{lane}_9" for lane in range(10)]),
]:
    built = driver.Builder().with_modules(steps).build()
    cpu_ms(f"Hamilton {name}", lambda: built.execute(ends, inputs={"start": 1}), 20)


@dagster.op
def begin():
    return 1


@dagster.op
def add_one(n):
    return n + 1


@dagster.job(executor_def=dagster.in_process_executor, resource_defs={"io_manager": dagster.mem_io_manager})
def chained():
    n = begin()
    for _ in range(100):
        n = add_one(n)


@dagster.job(executor_def=dagster.in_process_executor, resource_defs={"io_manager": dagster.mem_io_manager})
def fanned():
    n = begin()
    for _ in range(10):
        last = n
        for _ in range(10):
            last = add_one(last)


cpu_ms("Dagster chain of 100", chained.execute_in_process, 2)
cpu_ms("Dagster fan out 10x10", fanned.execute_in_process, 2)
