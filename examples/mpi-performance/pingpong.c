/*
 * Pairs of ranks send a message to and fro: rank i of the first half with rank i + n/2 of the second. Prints the time of one way, and the
 * bandwidth of all pairs together.
 *
 *   mpicc -O2 -o pingpong pingpong.c
 *   mpirun -n 4 ./pingpong 65536
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double MIN_SECONDS = 0.05;
enum { WARM_UP = 10, MAX_ROUNDS = 1 << 20 };

static void rounds(char *buffer, int bytes, int partner, int first, long count) {
  for (long i = 0; i < count; i++) {
    if (first) {
      MPI_Send(buffer, bytes, MPI_CHAR, partner, 0, MPI_COMM_WORLD);
      MPI_Recv(buffer, bytes, MPI_CHAR, partner, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else {
      MPI_Recv(buffer, bytes, MPI_CHAR, partner, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      MPI_Send(buffer, bytes, MPI_CHAR, partner, 0, MPI_COMM_WORLD);
    }
  }
}

static double timed(char *buffer, int bytes, int partner, int first, long count) {
  MPI_Barrier(MPI_COMM_WORLD);
  double start = MPI_Wtime();
  rounds(buffer, bytes, partner, first, count);
  double mine = MPI_Wtime() - start, slowest;
  MPI_Allreduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return slowest;
}

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  int rank, ranks;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  char *end = NULL;
  long bytes = argc == 2 ? strtol(argv[1], &end, 10) : -1;
  if (bytes < 0 || bytes > 1L << 30 || *end != '\0' || ranks % 2 != 0) {
    if (rank == 0) fprintf(stderr, "usage: mpirun -n <even number> pingpong <bytes>\n");
    MPI_Finalize();
    return 2;
  }
  int half = ranks / 2, first = rank < half, partner = first ? rank + half : rank - half;
  char *buffer = malloc(bytes + 1);
  if (buffer == NULL) MPI_Abort(MPI_COMM_WORLD, 3);
  memset(buffer, rank, bytes + 1);

  /* Where everybody is: SLURM's name of the node, since several of them may share one machine. */
  char name[MPI_MAX_PROCESSOR_NAME] = "", *all = NULL;
  const char *node = getenv("SLURMD_NODENAME");
  int length;
  if (node != NULL) snprintf(name, sizeof name, "%s", node);
  else MPI_Get_processor_name(name, &length);
  if (rank == 0) all = malloc((size_t)ranks * sizeof name);
  MPI_Gather(name, sizeof name, MPI_CHAR, all, sizeof name, MPI_CHAR, 0, MPI_COMM_WORLD);

  /* As many rounds as a measurable time needs, the same number for everybody. */
  rounds(buffer, (int)bytes, partner, first, WARM_UP);
  long count = 16;
  double seconds = timed(buffer, (int)bytes, partner, first, count);
  while (seconds < MIN_SECONDS && count < MAX_ROUNDS) {
    count *= 2;
    seconds = timed(buffer, (int)bytes, partner, first, count);
  }

  if (rank == 0) {
    int nodes = 0;
    for (int i = 0; i < ranks; i++) {
      int seen = 0;
      for (int j = 0; j < i; j++) seen |= strcmp(all + i * sizeof name, all + j * sizeof name) == 0;
      nodes += !seen;
      printf("rank %d on %s\n", i, all + i * sizeof name);
    }
    printf("nodes: %d\n", nodes);
    printf("rounds: %ld of %ld bytes\n", count, bytes);
    printf("one way: %.3f us\n", seconds / count / 2 * 1e6);
    printf("bandwidth: %.3f MB/s\n", 2.0 * count * bytes * half / seconds / 1e6);
  }
  free(all);
  free(buffer);
  MPI_Finalize();
  return 0;
}
