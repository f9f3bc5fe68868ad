/** What setting positions by hand means for each partition: where it goes on, what is sent again for it, and what is never sent. */
import type { UpstreamReset, UpstreamResetStep } from "../../src/broker/upstream-admin.ts";
import type { LocalRows } from "./local-rows.ts";
import { lowestOf, type Position, positionAt } from "./position.ts";
import { resumeAt } from "./progress/judge.ts";
import { sentKey } from "./progress/progress-record.ts";
import type { Session } from "./session.ts";
import type { Source, Sources } from "./sources.ts";

export interface PlannedReset {
	readonly source: Source;
	readonly position: Position;
	readonly step: UpstreamResetStep;
}

export function planReset(
	sources: Sources,
	{ progress, isOfCopy }: Pick<Session, "progress" | "isOfCopy">,
	rows: LocalRows,
	{ topic, to }: UpstreamReset,
): PlannedReset[] {
	const planned: PlannedReset[] = [];
	for (const source of sources.all()) {
		const { partition, flow } = source;
		if (topic !== undefined && partition.topic !== topic) continue;
		const said = progress?.sent.get(sentKey(partition.topic, partition.number));
		const sent = said?.topicId === flow.topic.id ? said : undefined;
		const row = rows.position(flow.topic.id, partition.number);
		const noted = row?.sent === undefined ? undefined : row.position;
		// What this log and the cluster both have; where a copy has sent in the meantime, that is what was sent before.
		const common = (isOfCopy ? undefined : resumeAt(partition, flow.topic.id, sent)) ?? noted;
		const position = positionOf(to, source, common, row?.position);
		const next = lowestOf(position);
		const known = common === undefined ? undefined : lowestOf(common);
		planned.push({
			source,
			position,
			step: {
				topic: partition.topic,
				partition: partition.number,
				from: known,
				to: next,
				againRecords: Math.max(0, (known ?? next) - next),
				skippedRecords: Math.max(0, next - Math.max(known ?? partition.logStartOffset, partition.logStartOffset)),
			},
		});
	}
	return planned;
}

function positionOf(
	to: UpstreamReset["to"],
	{ partition, position, isJudged }: Source,
	common: Position | undefined,
	noted: Position | undefined,
): Position {
	switch (to) {
		case "progress":
			return common ?? noted ?? position;
		case "local":
			// What is noted may be some seconds older than what this run of the program knows.
			return isJudged ? position : (noted ?? position);
		case "earliest":
			return positionAt(partition.logStartOffset);
		case "latest":
			return positionAt(partition.lastStableOffset);
	}
}
