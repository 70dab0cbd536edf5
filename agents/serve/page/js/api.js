// Answers of the HTTP API. What is asked for twice at once is asked for once.
import { instant } from "./address.js";

const ROOT = "/api";

/** An answer that is no success: its status (0 without an answer), and what the server says about it. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const asked = new Map();

const said = async (answer) => {
  try {
    const problem = await answer.json();
    return [`needed ${problem.needed}`, problem.got ? `got ${problem.got}` : null, problem.remedy].filter(Boolean).join("; ");
  } catch {
    return answer.statusText || "no reason was given";
  }
};

const TRIES = 3;

const fetched = async (address, tries = TRIES) => {
  let answer;
  try {
    answer = await fetch(address, { headers: { accept: "application/json" } });
  } catch {
    throw new Refused(0, "the server did not answer");
  }
  // Asked too often, by this page or by others of the same client: wait as long as the server says.
  if (answer.status === 429 && tries > 1) {
    await new Promise((done) => setTimeout(done, 1000 * Number(answer.headers.get("retry-after") ?? 1)));
    return fetched(address, tries - 1);
  }
  if (!answer.ok) throw new Refused(answer.status, await said(answer));
  return answer.json();
};

/** GET below `/api`. Parts of the question that are null are left out; the instant that the page is held at goes
 * along, unless `timeless`. */
export const get = (path, question = {}, { timeless = false } = {}) => {
  const wanted = new URLSearchParams();
  const at = timeless ? null : instant();
  for (const [name, value] of Object.entries({ at: at === null ? null : new Date(at).toISOString(), ...question })) {
    for (const each of Array.isArray(value) ? value : [value]) if (each !== null && each !== undefined) wanted.append(name, each);
  }
  const text = `${wanted}`;
  const address = `${ROOT}${path}${text ? `?${text}` : ""}`;
  if (!asked.has(address)) {
    const answer = fetched(address);
    asked.set(address, answer);
    // A failure is asked for again the next time.
    answer.catch(() => asked.delete(address));
  }
  return asked.get(address);
};

/** Forget all answers: something has changed. */
export const forget = () => asked.clear();
