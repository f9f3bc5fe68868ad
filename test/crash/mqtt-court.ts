/** Where the crash test's clients say what they see and what is wrong with it. */

const LINES_KEPT = 4000;
const LINES_TOLD = 120;
const PROBLEMS_TOLD = 5;

export class Court {
	/** Counted by the test: how often the gateway was started. */
	life = 0;
	/** The kill is under way: what ends now does not end in order. */
	killing = false;
	/** Nothing new is published: clients answer at once. */
	draining = false;
	/** What else helps to find the cause. */
	context: () => string = () => "";
	readonly #problems: { readonly who: string; readonly what: string; readonly trace: readonly string[] }[] = [];
	/** What happened lately, by client. */
	readonly #traces = new Map<string, string[]>();

	say(who: string, what: string): void {
		const lines = this.#traces.get(who);
		const line = `${performance.now().toFixed(1)} life ${this.life} ${who}: ${what}`;
		if (lines === undefined) this.#traces.set(who, [line]);
		else if (lines.push(line) > LINES_KEPT) lines.splice(0, LINES_KEPT / 2);
	}

	accuse(who: string, what: string): void {
		this.say(who, `WRONG: ${what}`);
		this.#problems.push({ who, what, trace: (this.#traces.get(who) ?? []).slice(-LINES_TOLD) });
	}

	/** Throws an Error that says what is wrong, and what came before it. */
	check(): void {
		const [first] = this.#problems;
		if (first === undefined) return;
		const list = this.#problems.slice(0, PROBLEMS_TOLD).map(({ who, what }) => `${who}: ${what}`);
		const total = `${this.#problems.length} wrong:\n${list.join("\n")}`;
		throw new Error(`${total}\n\nWhat ${first.who} saw before:\n${first.trace.join("\n")}\n\n${this.context()}`);
	}
}
