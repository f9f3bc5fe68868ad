/** The topics in what a consumer sends as its metadata (ConsumerProtocolSubscription; all versions begin alike). */

/** undefined: these bytes are none. */
export function subscribedTopics(metadata: Buffer): string[] | undefined {
	if (metadata.length < 6 || metadata.readInt16BE(0) < 0) return undefined;
	const count = metadata.readInt32BE(2);
	let at = 6;
	if (count < 0 || count * 2 > metadata.length - at) return undefined;
	const topics: string[] = [];
	for (let i = 0; i < count; i++) {
		if (metadata.length - at < 2) return undefined;
		const length = metadata.readInt16BE(at);
		at += 2;
		if (length < 0 || length > metadata.length - at) return undefined;
		topics.push(metadata.toString("utf8", at, at + length));
		at += length;
	}
	return topics;
}

/** The partitions in what a consumer is given (ConsumerProtocolAssignment; all versions begin alike). undefined: these bytes are none. */
export function assignedPartitions(assignment: Buffer): [topic: string, partitions: number[]][] | undefined {
	if (assignment.length < 6 || assignment.readInt16BE(0) < 0) return undefined;
	const count = assignment.readInt32BE(2);
	let at = 6;
	if (count < 0 || count * 6 > assignment.length - at) return undefined;
	const topics: [string, number[]][] = [];
	for (let i = 0; i < count; i++) {
		if (assignment.length - at < 2) return undefined;
		const length = assignment.readInt16BE(at);
		at += 2;
		if (length < 0 || length + 4 > assignment.length - at) return undefined;
		const topic = assignment.toString("utf8", at, at + length);
		at += length;
		const partitions = assignment.readInt32BE(at);
		at += 4;
		if (partitions < 0 || partitions * 4 > assignment.length - at) return undefined;
		const numbers = Array.from({ length: partitions }, (_, j) => assignment.readInt32BE(at + 4 * j));
		if (numbers.some((number) => number < 0)) return undefined;
		topics.push([topic, numbers]);
		at += 4 * partitions;
	}
	return topics;
}
