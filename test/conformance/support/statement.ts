/** One numbered statement of an MQTT standard: whom it binds, what it asks for in a few words, and why no test has it. */

export type Binds = "server" | "client" | "both";

export interface Statement {
	/** "MQTT-3.1.2-4". */
	readonly id: string;
	readonly binds: Binds;
	/** In our own words; the standard's are the standard's. */
	readonly summary: string;
	/** Why no test carries the id in its name. */
	readonly notApplicable?: string;
}

/** Statements as rows: number, whom it binds, summary, and the reason where it does not apply. */
export function statements(
	rows: readonly (readonly [number: string, binds: Binds, summary: string, notApplicable?: string])[],
): Statement[] {
	return rows.map(([number, binds, summary, notApplicable]) => ({
		id: `MQTT-${number}`,
		binds,
		summary,
		...(notApplicable === undefined ? {} : { notApplicable }),
	}));
}
