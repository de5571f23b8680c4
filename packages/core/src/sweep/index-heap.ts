/** A binary heap of positions: the smallest comes out first. */
export class IndexHeap {
  readonly #heap: number[] = []

  get size(): number {
    return this.#heap.length
  }

  push(index: number): void {
    const heap = this.#heap
    let at = heap.push(index) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (heap[parent]! <= index) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = index
  }

  pop(): number | undefined {
    const heap = this.#heap
    const smallest = heap[0]
    const moved = heap.pop()
    if (heap.length === 0 || moved === undefined) return smallest
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child++
      if (heap[child]! >= moved) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = moved
    return smallest
  }
}
