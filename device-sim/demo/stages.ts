/** The demo's stages in their order: what each is called, when it is due, when it came, what came of it. */
import type { Plan } from "./plan.ts";

export type StageName = "start" | "flow" | "firstKill" | "cut" | "secondKill" | "restore" | "end" | "count";

export interface Stage {
	readonly name: StageName;
	readonly title: string;
	/** What happens there, in a sentence or two. */
	readonly story: string;
	/** Milliseconds from the first event, as the other times; undefined: it comes when those before are over. */
	readonly plannedMs: number | undefined;
	beganMs: number | undefined;
	ended: boolean;
	/** What came of it. */
	result: string;
}

interface Text {
	readonly title: string;
	readonly story: string;
}

const TEXTS: Readonly<Record<StageName, Text>> = {
	start: {
		title: "hub, gateway, object store start",
		story: "The hub is a second Headwater, in the place of a central Kafka cluster; the object store is a folder.",
	},
	flow: {
		title: "sensors publish",
		story:
			"An event is acknowledged when it is on the gateway's disk. From there it goes to the hub in transactions, and to the store in bundles.",
	},
	firstKill: {
		title: "kill -9 the gateway",
		story: "No warning, nothing flushed. The sensors keep what is not acknowledged, come back, and send it again.",
	},
	cut: {
		title: "the link to the hub is cut",
		story:
			"The last request still arrived, its answer is lost. The sensors notice nothing: what they send waits on the gateway's disk.",
	},
	secondKill: {
		title: "kill -9 again, with the link cut",
		story: "Now nobody on this side knows whether the last transaction was committed. It is written down at the hub.",
	},
	restore: {
		title: "the link is back",
		story:
			"The hub has each transaction's events and the gateway's progress, or neither. The gateway asks, and goes on from there.",
	},
	end: {
		title: "the sensors stop",
		story: "What is still under way has time to arrive, and the last bundle is uploaded.",
	},
	count: {
		title: "count at the far ends",
		story:
			"Everything is read back: from the gateway's log, from the hub, from the bundles; and held against what each sensor knows.",
	},
};

export class Stages {
	readonly list: readonly Stage[];

	constructor(plan: Plan) {
		const planned: Readonly<Partial<Record<StageName, number>>> = {
			firstKill: plan.firstKillMs,
			cut: plan.cutMs,
			secondKill: plan.secondKillMs,
			restore: plan.restoreMs,
			end: plan.endMs,
		};
		this.list = (Object.keys(TEXTS) as StageName[]).map((name) => ({
			name,
			...TEXTS[name],
			plannedMs: planned[name],
			beganMs: undefined,
			ended: false,
			result: "",
		}));
	}

	get(name: StageName): Stage {
		return this.list.find((stage) => stage.name === name)!;
	}

	begin(name: StageName, atMs: number): void {
		this.get(name).beganMs = atMs;
	}

	end(name: StageName, result = ""): void {
		const stage = this.get(name);
		stage.ended = true;
		stage.result = result;
	}
}
