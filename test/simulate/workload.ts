/**
 * Who calls when: one working Monday of a LibreChat. Assumptions, each in one place; nobody's real traffic. A user has one session for all
 * conversations, as LibreChat's own default is, and comes back to it during the day; a part of the calls has no session.
 */
import type { Random, Spread } from "./random.ts";

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;

export interface Workload {
  /** Of the users, those who run code on that day. */
  readonly activeShare: number;
  /** Conversations with code of an active user. */
  readonly conversations: number;
  readonly callsInConversation: number;
  /** Of the conversations, those whose calls have no session. */
  readonly freshShare: number;
  /** Between the end of a call and the next one of the conversation, in ms. */
  readonly think: Spread;
  /** Of user code, in ms; at most the time limit. */
  readonly run: Spread;
  /** Of the calls, those that change files. */
  readonly filesShare: number;
  /** Of the calls, those with another one at the same time in the same session. */
  readonly pairShare: number;
  /** Of the users, those in classes, and how many one has: all begin within half a minute, at the full hour. */
  readonly classShare: number;
  readonly classSize: number;
  /** MiB that a session's files take on its host. */
  readonly files: Spread;
}

export const WORKDAY: Workload = {
  activeShare: 0.4,
  conversations: 2.5,
  callsInConversation: 6,
  freshShare: 0.15,
  think: { p50: 40_000, p99: 900_000 },
  run: { p50: 700, p99: 60_000 },
  filesShare: 0.5,
  pairShare: 0.08,
  classShare: 0.15,
  classSize: 30,
  files: { p50: 4, p99: 200 },
};

/** Conversations that begin in each hour from 6 to 20, in parts; nine o'clock on a Monday is the busiest. */
const RHYTHM = [1, 4, 11, 20, 16, 13, 7, 11, 14, 13, 10, 7, 4, 2] as const;
const FIRST_HOUR = 6;
export const DAY_BEGINS = FIRST_HOUR * HOUR;
export const DAY_ENDS = (FIRST_HOUR + RHYTHM.length) * HOUR;
const LESSONS = [9, 10, 11, 13, 14, 15] as const;
const LESSON_STARTS_WITHIN = 30_000;

export interface Conversation {
  readonly user: number;
  readonly at: number;
  readonly calls: number;
  readonly fresh: boolean;
}

function inRhythm(random: Random): number {
  let part = random.next() * RHYTHM.reduce<number>((sum, one) => sum + one, 0);
  const hour = RHYTHM.findIndex((one) => {
    part -= one;
    return part < 0;
  });
  return (FIRST_HOUR + hour + random.next()) * HOUR;
}

/** Every conversation of the day, in no order. */
export function conversations(users: number, workload: Workload, random: Random): Conversation[] {
  const found: Conversation[] = [];
  const begin = (user: number, at: number, fresh: boolean) =>
    found.push({ user, at, calls: random.geometric(workload.callsInConversation), fresh });
  const inClasses = Math.floor((users * workload.classShare) / workload.classSize) * workload.classSize;
  let lesson = 0;
  for (let user = 0; user < users; user += 1) {
    if (user < inClasses) {
      if (user % workload.classSize === 0) lesson = (LESSONS[random.index(LESSONS.length)] ?? 9) * HOUR;
      begin(user, lesson + random.between(0, LESSON_STARTS_WITHIN), false);
    } else if (random.chance(workload.activeShare)) {
      const count = random.geometric(workload.conversations);
      for (let n = 0; n < count; n += 1) begin(user, inRhythm(random), random.chance(workload.freshShare));
    }
  }
  return found;
}
