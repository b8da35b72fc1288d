// An issuer of web tokens, as companies run one: node-oidc-provider, with two clients, each with a secret.
//
//     node provider.mjs FOLDER PORT      FOLDER has oidc-provider among its node_modules
import { generateKeyPairSync } from "node:crypto";

const [folder, port] = process.argv.slice(2);
const { default: Provider } = await import(`${folder}/node_modules/oidc-provider/lib/index.js`);
const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const key = { ...privateKey.export({ format: "jwk" }), kid: `started-at-${Date.now()}`, alg: "ES256", use: "sig" };

const provider = new Provider(`http://127.0.0.1:${port}`, {
    jwks: { keys: [key] },
    clients: ["release-robot", "guest"].map((name) => ({
        client_id: name,
        client_secret: `secret-of-${name}`,
        id_token_signed_response_alg: "ES256",
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
    })),
    features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: false },
        resourceIndicators: {
            enabled: true,
            defaultResource: () => "urn:upstart",
            getResourceServerInfo: () => ({
                scope: "", audience: "upstart", accessTokenFormat: "jwt", accessTokenTTL: 600, jwt: { sign: { alg: "ES256" } },
            }),
        },
    },
    extraTokenClaims: (_, token) => ({ groups: token.clientId === "guest" ? [] : ["operators"] }),
});
provider.listen(Number(port), "127.0.0.1");
