import { createBrowserRouter, Navigate } from "react-router";
import { Shell } from "./shell/Shell";
import { NoSuchPage, Stumble } from "./shell/Stumble";

/** Each page is its own file to load; the map and the charts stay out of the first one. */
export const router = createBrowserRouter([
  {
    path: "/sign-in",
    errorElement: <Stumble />,
    hydrateFallbackElement: <></>,
    lazy: async () => ({ Component: (await import("./pages/sign-in/SignIn")).SignIn }),
  },
  {
    path: "/",
    element: <Shell />,
    errorElement: <Stumble />,
    hydrateFallbackElement: <></>,
    children: [
      {
        errorElement: <Stumble />,
        children: [
          { index: true, lazy: async () => ({ Component: (await import("./pages/map/MapPage")).MapPage }) },
          { path: "map", element: <Navigate to="/" replace /> },
          { path: "services", lazy: async () => ({ Component: (await import("./pages/services/ServicesPage")).ServicesPage }) },
          {
            path: "services/:name/:tab?",
            lazy: async () => ({ Component: (await import("./pages/service/ServicePage")).ServicePage }),
          },
          { path: "explore/:tab?", lazy: async () => ({ Component: (await import("./pages/explore/ExplorePage")).ExplorePage }) },
          { path: "changes", lazy: async () => ({ Component: (await import("./pages/changes/ChangesPage")).ChangesPage }) },
          { path: "plans", lazy: async () => ({ Component: (await import("./pages/plans/PlansPage")).PlansPage }) },
          { path: "plans/:id", lazy: async () => ({ Component: (await import("./pages/plans/PlanPage")).PlanPage }) },
          { path: "runs/:id", lazy: async () => ({ Component: (await import("./pages/plans/RunPage")).RunPage }) },
          { path: "secrets", lazy: async () => ({ Component: (await import("./pages/secrets/SecretsPage")).SecretsPage }) },
          { path: "access/:tab?", lazy: async () => ({ Component: (await import("./pages/access/AccessPage")).AccessPage }) },
          { path: "*", element: <NoSuchPage /> },
        ],
      },
    ],
  },
]);
