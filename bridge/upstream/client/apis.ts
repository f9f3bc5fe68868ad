/** The requests that the client makes, each with the answer that it gets. */
import { ProduceRequest, ProduceResponse } from "../../../src/kafka/protocol/messages/00-produce.ts";
import { FetchRequest, FetchResponse } from "../../../src/kafka/protocol/messages/01-fetch.ts";
import { ListOffsetsRequest, ListOffsetsResponse } from "../../../src/kafka/protocol/messages/02-list-offsets.ts";
import { MetadataRequest, MetadataResponse } from "../../../src/kafka/protocol/messages/03-metadata.ts";
import {
	FindCoordinatorRequest,
	FindCoordinatorResponse,
} from "../../../src/kafka/protocol/messages/10-find-coordinator.ts";
import { SaslHandshakeRequest, SaslHandshakeResponse } from "../../../src/kafka/protocol/messages/17-sasl-handshake.ts";
import { ApiVersionsRequest, ApiVersionsResponse } from "../../../src/kafka/protocol/messages/18-api-versions.ts";
import { CreateTopicsRequest, CreateTopicsResponse } from "../../../src/kafka/protocol/messages/19-create-topics.ts";
import {
	InitProducerIdRequest,
	InitProducerIdResponse,
} from "../../../src/kafka/protocol/messages/22-init-producer-id.ts";
import {
	AddPartitionsToTxnRequest,
	AddPartitionsToTxnResponse,
} from "../../../src/kafka/protocol/messages/24-add-partitions-to-txn.ts";
import { EndTxnRequest, EndTxnResponse } from "../../../src/kafka/protocol/messages/26-end-txn.ts";
import {
	DescribeConfigsRequest,
	DescribeConfigsResponse,
} from "../../../src/kafka/protocol/messages/32-describe-configs.ts";
import {
	SaslAuthenticateRequest,
	SaslAuthenticateResponse,
} from "../../../src/kafka/protocol/messages/36-sasl-authenticate.ts";
import type { Fields, Message } from "../../../src/kafka/protocol/schema.ts";

export interface Api<Q extends Fields, S extends Fields> {
	readonly request: Message<Q>;
	readonly response: Message<S>;
}

export const PRODUCE = { request: ProduceRequest, response: ProduceResponse };
export const FETCH = { request: FetchRequest, response: FetchResponse };
export const LIST_OFFSETS = { request: ListOffsetsRequest, response: ListOffsetsResponse };
export const METADATA = { request: MetadataRequest, response: MetadataResponse };
export const FIND_COORDINATOR = { request: FindCoordinatorRequest, response: FindCoordinatorResponse };
export const SASL_HANDSHAKE = { request: SaslHandshakeRequest, response: SaslHandshakeResponse };
export const API_VERSIONS = { request: ApiVersionsRequest, response: ApiVersionsResponse };
export const CREATE_TOPICS = { request: CreateTopicsRequest, response: CreateTopicsResponse };
export const INIT_PRODUCER_ID = { request: InitProducerIdRequest, response: InitProducerIdResponse };
export const ADD_PARTITIONS_TO_TXN = { request: AddPartitionsToTxnRequest, response: AddPartitionsToTxnResponse };
export const END_TXN = { request: EndTxnRequest, response: EndTxnResponse };
export const DESCRIBE_CONFIGS = { request: DescribeConfigsRequest, response: DescribeConfigsResponse };
export const SASL_AUTHENTICATE = { request: SaslAuthenticateRequest, response: SaslAuthenticateResponse };

/** For people: "Produce". */
export function apiName(api: { readonly request: { readonly name: string } }): string {
	return api.request.name.replace(/Request$/, "");
}
