/** Whether a connection is read from: not while anything speaks against it. */
import type { Pressure, ReliefListener } from "../../src/base/pressure.ts";
import type { Inbox } from "./inbox.ts";
import type { Transport } from "./transport.ts";

/** What may speak against it. */
export const PAUSED = { byPressure: 1, byOutput: 2, forGood: 4, byWork: 8, byAnswers: 16, forRoom: 32 } as const;
export type Pause = (typeof PAUSED)[keyof typeof PAUSED];
const BY_THE_GATEWAY = PAUSED.byPressure | PAUSED.byWork | PAUSED.byAnswers | PAUSED.forRoom;

export class Reading {
	readonly #transport: Transport;
	#paused = 0;

	constructor(transport: Transport) {
		this.#transport = transport;
	}

	get isPaused(): boolean {
		return this.#paused !== 0;
	}

	/** We do not listen, so silence says nothing. */
	get heldUp(): boolean {
		return (this.#paused & BY_THE_GATEWAY) !== 0;
	}

	pausedFor(why: Pause): boolean {
		return (this.#paused & why) !== 0;
	}

	pause(why: Pause): void {
		if (this.#paused === 0) this.#transport.pause();
		this.#paused |= why;
	}

	resume(why: Pause): void {
		if (this.lift(why)) this.#transport.resume();
	}

	/** As `resume`, but reads nothing yet; whether it was the last that spoke against it. */
	lift(why: Pause): boolean {
		if ((this.#paused & why) === 0) return false;
		this.#paused &= ~why;
		return this.#paused === 0;
	}

	/** Over the budget nothing is read but the rest of a packet, and of a large one only once it has room. */
	stayWithin(pressure: Pressure, inbox: Inbox, listener: ReliefListener): void {
		const { holdsPart } = inbox;
		if (inbox.waits) this.pause(PAUSED.forRoom);
		else this.resume(PAUSED.forRoom);
		if (holdsPart ? pressure.full : pressure.over) {
			this.pause(PAUSED.byPressure);
			pressure.onRelief(listener, holdsPart);
		} else if (holdsPart) this.resume(PAUSED.byPressure);
	}
}
