"""At which share of open sites does water find a way through a square lattice?

Opens the sites of a lattice one by one, in random order, until the first row is connected with the last; writes the share of open sites at
that moment, for lattices of several sizes, many times. For large lattices it is 0.592746 (Newman and Ziff, Phys. Rev. Lett. 85, 4104, 2000).

    python3 percolation.py SEED TRIALS FILE

Runs with every Python 3, and uses all processors of the machine.
"""
import csv
import os
import random
import sys
from multiprocessing import Pool

SIZES = (8, 16, 32, 64)


def find(parent, site):
    """The root of the cluster of a site; halves the way there."""
    while parent[site] != site:
        parent[site] = parent[parent[site]]
        site = parent[site]
    return site


def threshold(size, seed):
    """The share of open sites at which the first row is connected with the last."""
    count = size * size
    top, bottom = count, count + 1
    parent = list(range(count + 2))
    is_open = bytearray(count)
    order = list(range(count))
    random.Random(seed).shuffle(order)
    for opened, site in enumerate(order, 1):
        is_open[site] = 1
        row, column = divmod(site, size)
        neighbours = [
            top if row == 0 else site - size,
            bottom if row == size - 1 else site + size,
            site - 1 if column > 0 else site,
            site + 1 if column < size - 1 else site,
        ]
        for other in neighbours:
            if other >= count or is_open[other]:
                parent[find(parent, other)] = find(parent, site)
        if find(parent, top) == find(parent, bottom):
            return opened / count
    raise AssertionError("all sites are open, and no way leads through")


def one_trial(arguments):
    size, trial, seed = arguments
    return size, trial, threshold(size, "%s %s %s" % (seed, size, trial))


def main():
    seed, trials, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    work = [(size, trial, seed) for size in SIZES for trial in range(trials)]
    with Pool() as pool:
        rows = pool.map(one_trial, work)
    # Under its name when it is whole: what is fetched is never half a result.
    with open(path + ".new", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["size", "trial", "threshold"])
        table.writerows(rows)
    os.replace(path + ".new", path)


if __name__ == "__main__":
    main()
