/** What happens next, in the order of time; of what happens at the same time, what was said first. A heap. */

interface Event {
  readonly at: number;
  readonly turn: number;
  readonly happen: () => void;
}

const before = (a: Event, b: Event) => a.at < b.at || (a.at === b.at && a.turn < b.turn);

export class Clock {
  /** Milliseconds since midnight. */
  now: number;
  #turn = 0;
  readonly #heap: Event[] = [];

  constructor(start: number) {
    this.now = start;
  }

  /** What lies in the past happens now. */
  at(time: number, happen: () => void): void {
    const event = { at: Math.max(time, this.now), turn: this.#turn, happen };
    this.#turn += 1;
    const heap = this.#heap;
    let index = heap.push(event) - 1;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const other = heap[above];
      if (other === undefined || before(other, event)) break;
      heap[index] = other;
      index = above;
    }
    heap[index] = event;
  }

  after(ms: number, happen: () => void): void {
    this.at(this.now + ms, happen);
  }

  /** Until nothing is left, or `end`. */
  run(end: number): void {
    for (let event = this.#next(end); event !== null; event = this.#next(end)) {
      this.now = event.at;
      event.happen();
    }
    this.now = Math.max(this.now, end);
  }

  #next(end: number): Event | null {
    const heap = this.#heap;
    const [first] = heap;
    if (first === undefined || first.at > end) return null;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      const [one, two] = [heap[left], heap[left + 1]];
      if (one === undefined) break;
      const [child, place] = two !== undefined && before(two, one) ? [two, left + 1] : [one, left];
      if (!before(child, last)) break;
      heap[index] = child;
      index = place;
    }
    heap[index] = last;
    return first;
  }
}
