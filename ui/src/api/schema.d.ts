// Made by `npm run generate` from docs/reference/openapi.json; do not edit.

export interface paths {
    "/api/stead/v1/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The process answers. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/plain": string;
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/ready": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** It has looked at everything once and can be asked. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/plain": string;
                    };
                };
                503: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/plain": string;
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/info": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Info"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/machine/backup": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["BackupFile"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/machine/shutdown": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["ShutDown"];
                };
            };
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/machine/upgrade": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Upgrade"];
                };
            };
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Session"];
                    };
                };
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Problem"];
                    };
                };
            };
        };
        put?: never;
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SignIn"];
                };
            };
            responses: {
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Session"];
                    };
                };
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Problem"];
                    };
                };
            };
        };
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/session/password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SetPassword"];
                };
            };
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
            };
        };
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/stream": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/event-stream": components["schemas"]["Change"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/services": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Service"][];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/services/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ServiceDetail"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/services/{name}/restart": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Why"];
                };
            };
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/services/{name}/scale": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["ScaleTo"];
                };
            };
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/services/{name}/jobs/{job}/run": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path: {
                    name: string;
                    job: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Why"];
                };
            };
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/services/{name}/exec": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Exec"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ExecOutcome"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/services/{name}/traffic": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: {
                    /** @description How far back, 10 to 900; 900 unless told. */
                    seconds?: number;
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Series"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/map": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Map"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/services/{name}/logs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: {
                    /** @description The latest so many lines; 200 unless told, at most 10,000. */
                    tail?: number;
                    /** @description RFC 3339. */
                    since?: string;
                    /** @description Only lines with this text, compared without case. */
                    contains?: string;
                    /** @description Id, or the end of one. */
                    replica?: string;
                    /** @description Only runs of this job. */
                    job?: string;
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["LogLine"][];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/services/{name}/logs/stream": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: {
                    /** @description The latest so many lines; 200 unless told, at most 10,000. */
                    tail?: number;
                    /** @description RFC 3339. */
                    since?: string;
                    /** @description Only lines with this text, compared without case. */
                    contains?: string;
                    /** @description Id, or the end of one. */
                    replica?: string;
                    /** @description Only runs of this job. */
                    job?: string;
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/event-stream": components["schemas"]["LogLine"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/plans": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Plan"][];
                    };
                };
            };
        };
        put?: never;
        post: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Submission"];
                };
            };
            responses: {
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Plan"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/plans/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Plan"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/plans/{id}/apply": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Run"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Run"][];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/runs/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Run"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/runs/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Why"];
                };
            };
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Run"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/artifacts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/x-tar": number[];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/plain": number;
                    };
                };
            };
        };
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: {
                    /** @description Entity id, or `service/NAME` form where it has none. */
                    subject?: string;
                    /** @description Start of the type, such as `stead.release.`. */
                    kind?: string;
                    actor?: string;
                    correlation?: string;
                    /** @description Made at this time or later (RFC 3339). */
                    from?: string;
                    /** @description Made before this time (RFC 3339). */
                    to?: string;
                    /** @description Continue after this sequence. */
                    after?: number;
                    limit?: number;
                    descending?: boolean;
                    /** @description All environments, not just the one in `environment`. */
                    all?: boolean;
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Event"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/events/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One JSON object a line, oldest first; read page by page, so memory stays flat. */
        get: {
            parameters: {
                query?: {
                    /** @description Entity id, or `service/NAME` form where it has none. */
                    subject?: string;
                    /** @description Start of the type, such as `stead.release.`. */
                    kind?: string;
                    actor?: string;
                    correlation?: string;
                    /** @description Made at this time or later (RFC 3339). */
                    from?: string;
                    /** @description Made before this time (RFC 3339). */
                    to?: string;
                    /** @description Continue after this sequence. */
                    after?: number;
                    limit?: number;
                    descending?: boolean;
                    /** @description All environments, not just the one in `environment`. */
                    all?: boolean;
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/x-ndjson": string;
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/events/verify": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["AuditVerdict"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/secrets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Secret"][];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/secrets/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SetSecret"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/plain": number;
                    };
                };
            };
        };
        post?: never;
        delete: {
            parameters: {
                query?: {
                    /** @description Environment; `default` unless told. */
                    environment?: string;
                };
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/people": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Person"][];
                    };
                };
            };
        };
        put?: never;
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Invite"];
                };
            };
            responses: {
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["SignInLink"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/people/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["ChangePerson"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Person"];
                    };
                };
            };
        };
        trace?: never;
    };
    "/api/stead/v1/people/{id}/link": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["SignInLink"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/tokens": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Token"][];
                    };
                };
            };
        };
        put?: never;
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["NewToken"];
                };
            };
            responses: {
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CreatedToken"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stead/v1/tokens/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @enum {string} */
        Action: "create" | "change" | "replace" | "remove" | "keep";
        /** @description A file of an artifact. */
        ArtifactFile: {
            /** @description Relative, with `/`, without `..`. */
            path: string;
            /** @description `sha256:<hex>`; empty for a symbolic link. */
            digest?: string;
            /** Format: int64 */
            size: number;
            executable?: boolean;
            /** @description Target of a symbolic link, which stays within the artifact. */
            link?: string | null;
        };
        /** @description The files of a service as they are pinned. */
        ArtifactTree: {
            /** @description Digest of the sorted list: the identity of the tree. */
            digest: string;
            files: components["schemas"]["ArtifactFile"][];
        };
        /** @description Whether the ledger is as it was written. */
        AuditVerdict: {
            intact: boolean;
            /** Format: int64 */
            entries: number;
            /** @description What was found, in words. */
            findings: string[];
            /** @description Whether a signed checkpoint outside the data directory proves the tail. */
            tail_proven: boolean;
        };
        /** @description A backup that was written on the server's machine. */
        BackupFile: {
            path: string;
        };
        /** @description What a workload was given for one of its needs. */
        Binding: {
            need: string;
            kind: components["schemas"]["Kind"];
            /** @description Name of the service or platform service behind it. */
            target: string;
            /** @description Names of the environment variables it arrives in, never their values. */
            environment: string[];
            /**
             * Format: int64
             * @description Version of the password that it is given, for a need that has one.
             */
            password_version?: number | null;
        };
        /** @description A hint that something changed; what it is now is read from its own route. */
        Change: {
            /** @description `service`, `plan`, `run`, `event`, `person`, `token`, `secret`, or `all` after a gap. */
            kind: string;
            name?: string | null;
        };
        ChangePerson: {
            name?: string | null;
            role?: null | components["schemas"]["Role"];
            active?: boolean | null;
        };
        /** @description The latest result of a health check. */
        Check: {
            /** @description `readiness` or `liveness`. */
            name: string;
            ok: boolean;
            /** Format: int32 */
            failures: number;
            message?: string | null;
        };
        /** @description A new token with its secret, which is shown once. */
        CreatedToken: {
            token: components["schemas"]["Token"];
            secret: string;
        };
        /** @description A text file of the user's: its path relative to the project and what it says. */
        Document: {
            path: string;
            text: string;
        };
        /** @description Where it is reached. */
        Endpoint: {
            /** @description `public`, or the name of the service it is for. */
            audience: string;
            url: string;
        };
        /** @description One entry of the ledger. */
        Event: {
            /** Format: int64 */
            seq: number;
            id: string;
            at: string;
            environment: string;
            /** @description `stead.<noun>.<verb>.v1`. */
            kind: string;
            subject: string;
            actor: string;
            correlation: string;
            causation?: string | null;
            why: string;
            /** @description `before` and `after`, and the evidence of a decision. */
            body: unknown;
            hash: string;
        };
        Exec: {
            command: string[];
            /** @description One replica; any ready one unless told. */
            replica?: string | null;
            /**
             * Format: int32
             * @description Seconds it may take, 1 to 600; 60 unless told.
             */
            timeout_seconds?: number | null;
        };
        ExecOutcome: {
            /** Format: int32 */
            code?: number | null;
            /** Format: int32 */
            signal?: number | null;
            stdout: string;
            stderr: string;
        };
        Exit: {
            at: string;
            /** Format: int32 */
            code?: number | null;
            /** Format: int32 */
            signal?: number | null;
            oom: boolean;
            reason: string;
        };
        /** @description One field that differs. Secret values never appear, only that they differ. */
        FieldChange: {
            /** @description Path in the definition, such as `run.replicas`. */
            path: string;
            before?: unknown;
            after?: unknown;
        };
        /** @description Something this machine lacks, what that costs, and how to get it. */
        Finding: {
            name: string;
            /** @description `ok`, `degraded` or `missing`. */
            state: string;
            message: string;
            hint?: string | null;
        };
        /** @enum {string} */
        Health: "healthy" | "starting" | "degraded" | "down" | "crash_loop" | "stopped";
        /** @description The installation. */
        Info: {
            version: string;
            started_at: string;
            tenant: string;
            environments: string[];
            api: string;
            /** @description Address of the public listener of the gateway, once it is up. */
            gateway?: string | null;
            findings: components["schemas"]["Finding"][];
        };
        Invite: {
            name: string;
            role: components["schemas"]["Role"];
        };
        /**
         * @description What a thing on the map is.
         * @enum {string}
         */
        Kind: "service" | "job" | "postgres" | "redis";
        Link: {
            title: string;
            url: string;
        };
        LogLine: {
            at: string;
            service: string;
            replica: string;
            /** @description `stdout` or `stderr`. */
            stream: string;
            text: string;
        };
        Map: {
            nodes: components["schemas"]["MapNode"][];
            edges: components["schemas"]["MapEdge"][];
        };
        /** @description Who needs or calls whom. */
        MapEdge: {
            from: string;
            to: string;
            /** @description It stands in the service file. */
            declared: boolean;
            /** @description The gateway saw a call within the last minute. */
            observed: boolean;
            /** Format: double */
            requests_per_second: number;
            /** Format: double */
            error_ratio: number;
            /** Format: double */
            p99_ms?: number | null;
        };
        /** @description A thing on the map with its traffic over the last minute. */
        MapNode: {
            /** @description Service name; `internet` stands for clients outside. */
            name: string;
            kind?: null | components["schemas"]["Kind"];
            health?: null | components["schemas"]["Health"];
            reason?: string | null;
            /** Format: int32 */
            replicas_ready: number;
            /** Format: int32 */
            replicas_wanted: number;
            /** Format: double */
            requests_per_second: number;
            /**
             * Format: double
             * @description 0 to 1.
             */
            error_ratio: number;
            /** Format: double */
            p99_ms?: number | null;
        };
        NewToken: {
            name: string;
            scopes: string[];
            environments?: string[];
            /**
             * Format: int32
             * @description Days until it expires, 1 to 365; 90 unless told.
             */
            days?: number | null;
        };
        /** @description A list and where the next page begins. */
        Page_Event: {
            items: {
                /** Format: int64 */
                seq: number;
                id: string;
                at: string;
                environment: string;
                /** @description `stead.<noun>.<verb>.v1`. */
                kind: string;
                subject: string;
                actor: string;
                correlation: string;
                causation?: string | null;
                why: string;
                /** @description `before` and `after`, and the evidence of a decision. */
                body: unknown;
                hash: string;
            }[];
            next?: string | null;
        };
        Person: {
            id: string;
            name: string;
            role: components["schemas"]["Role"];
            active: boolean;
            /** @description Whether a password is set, so that they can come back without a link. */
            password: boolean;
            created_at: string;
            last_seen_at?: string | null;
        };
        /** @description An immutable plan. */
        Plan: {
            id: string;
            environment: string;
            state: components["schemas"]["PlanState"];
            created_at: string;
            created_by: string;
            source: components["schemas"]["Source"];
            steps: components["schemas"]["Step"][];
            summary: components["schemas"]["Summary"];
            /** @description Things that are allowed but deserve a look. */
            warnings?: string[];
            /** @description Digests of artifact files that must be uploaded before it can be applied. */
            missing_blobs?: string[];
            /** @description The run that applied it. */
            run?: string | null;
        };
        /** @enum {string} */
        PlanState: "open" | "applied" | "stale";
        /** @description One interval of a series. */
        Point: {
            /**
             * Format: int64
             * @description Start of the interval, milliseconds since the Unix epoch.
             */
            at_ms: number;
            /** Format: int64 */
            requests: number;
            /**
             * Format: int64
             * @description Answers of class 5xx, and connections that broke.
             */
            errors: number;
            /** Format: int64 */
            retries: number;
            /** Format: int64 */
            in_flight: number;
            /**
             * Format: double
             * @description Latency quantiles in milliseconds; none where nothing was asked.
             */
            p50_ms?: number | null;
            /** Format: double */
            p90_ms?: number | null;
            /** Format: double */
            p99_ms?: number | null;
        };
        /** @description What went wrong (RFC 9457, `application/problem+json`). */
        Problem: {
            /** @description A stable code, such as `state.conflict`. */
            code: string;
            /**
             * Format: int32
             * @description HTTP status.
             */
            status: number;
            message: string;
            hint?: string | null;
        };
        /** @description An immutable version of a service. */
        Release: {
            id: string;
            /**
             * Format: int64
             * @description Counts up from 1 per service.
             */
            number: number;
            state: components["schemas"]["ReleaseState"];
            created_at: string;
            created_by: string;
            source: components["schemas"]["Source"];
            /** @description Digest of the pinned artifact; none for platform services. */
            artifact?: string | null;
            /** @description Names and versions of the secrets it was pinned to. */
            secrets?: string[];
            reason?: string | null;
            /** @description What it runs, secrets by name only; where a service is shown in full, for its newest releases. */
            definition?: unknown;
        };
        /** @enum {string} */
        ReleaseState: "rolling" | "active" | "superseded" | "failed";
        /** @description Asks for services to be taken down. */
        Removal: {
            /**
             * @description Names of services; empty means all of the project in `source`, or all of the environment when
             *     that is empty too.
             */
            services: string[];
            /** @description Whether the data of what they needed goes too. It cannot be undone. */
            delete_data?: boolean;
        };
        Replica: {
            id: string;
            release: string;
            state: components["schemas"]["ReplicaState"];
            since: string;
            /** Format: int32 */
            pid?: number | null;
            /** Format: int32 */
            port?: number | null;
            /**
             * Format: double
             * @description Cores in use over the last seconds.
             */
            cpu_cores: number;
            /** Format: int64 */
            memory_bytes: number;
            /** Format: int64 */
            memory_bytes_max?: number | null;
            /** Format: int32 */
            processes: number;
            checks?: components["schemas"]["Check"][];
            exit?: null | components["schemas"]["Exit"];
            /** @description What this machine could not enforce. */
            notes?: string[];
        };
        /** @enum {string} */
        ReplicaState: "starting" | "ready" | "not_ready" | "stopping" | "exited" | "lost";
        /** @enum {string} */
        Role: "viewer" | "operator" | "admin";
        /** @description Asks for a new password of a platform service. It goes alone in a submission. */
        Rotation: {
            /** @description The service whose need it is. */
            service: string;
            /** @description The need as the service's file names it; may be left out when there is only one. */
            need?: string | null;
        };
        /** @description A plan being carried out. */
        Run: {
            id: string;
            plan: string;
            state: components["schemas"]["RunState"];
            started_at: string;
            ended_at?: string | null;
            started_by: string;
            steps: components["schemas"]["RunStep"][];
            /** @description Why it did not succeed. */
            problem?: string | null;
        };
        /** @enum {string} */
        RunState: "running" | "done" | "undone" | "parked" | "cancelled";
        RunStep: {
            name: string;
            state: components["schemas"]["StepState"];
            /** Format: int32 */
            attempts: number;
            /** @description Progress or failure, in words. */
            message?: string | null;
        };
        ScaleTo: {
            /** Format: int32 */
            replicas: number;
            why?: string | null;
        };
        /** @description A secret, never its value. */
        Secret: {
            name: string;
            /** Format: int64 */
            version: number;
            updated_at: string;
            updated_by: string;
            /** @description Made by Stead for a need, not by a person. */
            generated: boolean;
            /** @description Services that use it. */
            used_by: string[];
        };
        /** @description Traffic of one service, optionally one release or replica of it. */
        Series: {
            service: string;
            /** Format: int32 */
            step_seconds: number;
            points: components["schemas"]["Point"][];
        };
        /** @description A service, a job or a need, at a glance. */
        Service: {
            id: string;
            name: string;
            kind: components["schemas"]["Kind"];
            environment: string;
            description?: string | null;
            owner?: string | null;
            tier: string;
            health: components["schemas"]["Health"];
            /** @description Why it is so, in a sentence, when it is not healthy. */
            reason?: string | null;
            since: string;
            /** Format: int32 */
            replicas_ready: number;
            /** Format: int32 */
            replicas_wanted: number;
            release?: null | components["schemas"]["Release"];
            /** @description Where a client reaches it, when it is exposed. */
            url?: string | null;
            /** @description Names of what it needs, services and platform services. */
            needs?: string[];
            /** @description The service that a platform service belongs to. */
            belongs_to?: string | null;
        };
        /** @description A service with all that is known of it. */
        ServiceDetail: components["schemas"]["Service"] & {
            /**
             * Format: int64
             * @description Grows with every change; the ETag.
             */
            generation: number;
            replicas: components["schemas"]["Replica"][];
            /** @description Newest first. */
            releases: components["schemas"]["Release"][];
            bindings: components["schemas"]["Binding"][];
            endpoints: components["schemas"]["Endpoint"][];
            /** @description The definition in force, secrets by name only. */
            definition: unknown;
            links?: components["schemas"]["Link"][];
        };
        /** @description Who is asking. */
        Session: {
            person?: null | components["schemas"]["Person"];
            actor: string;
            role: components["schemas"]["Role"];
            /** @description Sent back as header `X-Stead-Csrf` with every change; none for an API token. */
            csrf?: string | null;
            expires_at?: string | null;
        };
        SetPassword: {
            password: string;
            /** @description The one before, where one is set and the session is not fresh. */
            current?: string | null;
        };
        SetSecret: {
            value: string;
            /** @description The value is base64 (RFC 4648, padded), for bytes that are no text. */
            base64?: boolean;
        };
        /** @description How to stop. */
        ShutDown: {
            /** @description Gateway and workloads too; else they go on without control. */
            everything?: boolean;
        };
        /** @description Signs in with a one-time link, or with name and password. */
        SignIn: {
            link?: string | null;
            name?: string | null;
            password?: string | null;
        };
        /** @description A one-time sign-in link. It is shown once. */
        SignInLink: {
            person: components["schemas"]["Person"];
            url: string;
            expires_at: string;
        };
        /** @description Where the input came from. */
        Source: {
            /** @description Identity of the project: the absolute path of the folder given to `stead up`. */
            project: string;
            repository?: string | null;
            commit?: string | null;
            /** @description Whether the working tree had changes that are in no commit. */
            dirty?: boolean;
            author?: string | null;
            committed_at?: string | null;
        };
        /** @description What happens to one thing. */
        Step: {
            /** @description `service/checkout`, `need/checkout.db`. */
            subject: string;
            action: components["schemas"]["Action"];
            /** @description Why, in a sentence. */
            why: string;
            /**
             * @description What differs. What is created differs in all of its fields: they are listed where the plan is
             *     asked for by its id, and left out in the answer that makes it and in lists.
             */
            changes?: components["schemas"]["FieldChange"][];
            /** @description Subjects that come before this one. */
            after?: string[];
            /** @description What a person should know before saying yes, such as data that is deleted. */
            warnings?: string[];
            /** @description Data is deleted for good, which takes a right of its own. */
            deletes_data?: boolean;
            /** @description Credentials are made anew, which takes the right to manage secrets. */
            rotates_credentials?: boolean;
        };
        /** @enum {string} */
        StepState: "waiting" | "running" | "retrying" | "done" | "failed" | "undone" | "skipped" | "parked";
        /** @description What a client hands in to be planned. */
        Submission: {
            source: components["schemas"]["Source"];
            documents: components["schemas"]["Document"][];
            /** @description By service name. */
            artifacts?: {
                [key: string]: components["schemas"]["ArtifactTree"];
            };
            removal?: null | components["schemas"]["Removal"];
            rotation?: null | components["schemas"]["Rotation"];
        };
        Summary: {
            /** Format: int32 */
            create: number;
            /** Format: int32 */
            change: number;
            /** Format: int32 */
            replace: number;
            /** Format: int32 */
            remove: number;
            /** Format: int32 */
            keep: number;
        };
        Token: {
            id: string;
            name: string;
            /** @description `read`, `deploy`, `secrets`, `access`. */
            scopes: string[];
            /** @description Environments it is good for; empty means all. */
            environments: string[];
            created_at: string;
            created_by: string;
            expires_at: string;
            last_used_at?: string | null;
        };
        /** @description The program to go over to, on the server's machine. */
        Upgrade: {
            path: string;
        };
        /** @description Why something is asked; it goes on the ledger. */
        Why: {
            why?: string | null;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
