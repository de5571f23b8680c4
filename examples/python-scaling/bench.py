"""Counts the primes below a limit, in blocks that are shared by as many processes as the job has cores.

Runs with every Python from 2.7 on. SLURM_NTASKS says how many processes (where there is no SLURM, the level of the factor n_cores), BENCH_LIMIT how far to count.
"""
from __future__ import division, print_function

import os
import platform
import resource
import sys
import time
from multiprocessing import Pool

# A prime number: no block holds the even numbers only, and 16 processes have equal shares.
BLOCKS = 127
# What is known about the number of primes below a power of ten.
KNOWN = {1000: 168, 10000: 1229, 100000: 9592, 1000000: 78498, 10000000: 664579}


def is_prime(n):
    if n < 4:
        return n > 1
    if n % 2 == 0 or n % 3 == 0:
        return False
    divisor = 5
    while divisor * divisor <= n:
        if n % divisor == 0 or n % (divisor + 2) == 0:
            return False
        divisor += 6
    return True


def count_block(block):
    """The primes of one block, and the processor time that they took."""
    first, limit = block
    before = processor_time()
    primes = sum(1 for n in range(first, limit, BLOCKS) if is_prime(n))
    return primes, processor_time() - before


def processor_time():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main():
    cores = int(os.environ.get("SLURM_NTASKS") or os.environ.get("CAHIER_FACTOR_n_cores", "1"))
    limit = int(os.environ.get("BENCH_LIMIT", "1000000"))
    pool = Pool(cores)
    try:
        # Everybody is there before the clock starts.
        pool.map(abs, range(cores), 1)
        clock = getattr(time, "perf_counter", time.time)
        start = clock()
        results = pool.map(count_block, [(first, limit) for first in range(BLOCKS)], 1)
        seconds = clock() - start
    finally:
        pool.close()
        pool.join()

    primes = sum(count for count, _ in results)
    work = sum(spent for _, spent in results)
    print("python %s on %s, %d processes" % (platform.python_version(), platform.node(), cores))
    print("primes below %d: %d" % (limit, primes))
    print("elapsed %.4f s" % seconds)
    print("speed-up %.3f" % (work / seconds))
    if KNOWN.get(limit, primes) != primes:
        sys.exit("wrong: there are %d primes below %d" % (KNOWN[limit], limit))


if __name__ == "__main__":
    main()
